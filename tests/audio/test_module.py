from pathlib import Path

import pytest
import torch

from audio.data import AudioData
from audio.model import AudioConfig
from audio.module import AudioModule
from audio.train import train
from audio.vocoder import VocoderConfig
from audio.vocoder_module import VocoderModule
from core.checkpoint import load_module
from core.denoiser import DenoiserConfig
from core.noise import mix

NET = DenoiserConfig(width=32, depth=1, heads=2)
VOCODER = VocoderConfig(width=16, depth=1, bands=8, pitches=24)
SMALL = AudioConfig(net=NET, vocoder=VOCODER)


def waves() -> torch.Tensor:
    """Two swelling tones."""
    time = torch.arange(10400) / 8000
    tones = torch.sin(2 * torch.pi * torch.tensor([[200.0], [700.0]]) * time)
    return 0.3 * tones * torch.sin(torch.pi * time / 1.3)


@pytest.fixture
def module() -> AudioModule:
    torch.manual_seed(0)
    module = AudioModule(SMALL, cond_dim=2)
    module.codec.fit(waves())
    return module


def test_velocity_is_predicted_by_default():
    assert AudioModule(SMALL).flow.prediction == "v"


def test_overfits_one_batch(module: AudioModule):
    tokens, cond = module.codec.encode(waves()), torch.eye(2)
    optimiser = torch.optim.Adam(module.net.parameters(), lr=5e-3)
    losses = []
    for step in range(120):
        loss = module.loss(tokens, cond, mix(step, torch.arange(2)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.65 * sum(losses[:10])


def test_a_sample_depends_on_its_own_seed_alone(module: AudioModule):
    torch.nn.init.normal_(module.net.write.out.weight, std=0.1)
    both = module.generate(torch.eye(2), seeds=[3, 4])
    alone = module.generate(torch.eye(2)[1:], seeds=[4])
    assert both.shape == (2, 10400)
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-3)


def test_the_vocoder_does_not_learn_with_the_flow(module: AudioModule):
    assert not any(p.requires_grad for p in module.codec.vocoder.parameters())


def vocoder_checkpoint(folder: Path, config: VocoderConfig) -> Path:
    module = VocoderModule(config)
    module.vocoder.fit(waves())
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / "vocoder.ckpt")
    return folder / "vocoder.ckpt"


def run(world: Path, out: Path, *more: str) -> None:
    options = f"""
        --out {out} --samples 1 --trainer.max_steps 2 --trainer.accelerator cpu
        --data.root {world} --data.embeddings {world / "embeddings"} --data.batch_size 4
        --model.model.net.width 32 --model.model.net.depth 1
        --model.model.vocoder.width 16 --model.model.vocoder.depth 1
        --model.model.vocoder.bands 8 --model.model.vocoder.pitches 24
    """
    train(AudioModule, AudioData, [*options.split(), *more])


def test_training_takes_the_vocoder_over_and_the_checkpoint_keeps_it(tiny_world, tmp_path: Path):
    checkpoint = vocoder_checkpoint(tmp_path, VOCODER)
    run(tiny_world, tmp_path / "run", "--model.vocoder", str(checkpoint))
    checkpoint.unlink()
    loaded = load_module(tmp_path / "run" / "last.ckpt", AudioModule)
    assert loaded.codec.vocoder.trained
    assert loaded.codec.fitted
    assert (tmp_path / "run" / "samples" / "000002.wav").is_file()
    assert loaded.generate(None, seeds=[0]).isfinite().all()


def test_a_vocoder_of_another_size_is_one_clear_line(
    tiny_world, tmp_path: Path, capsys: pytest.CaptureFixture
):
    checkpoint = vocoder_checkpoint(tmp_path, VocoderConfig(width=24, depth=1, bands=8, pitches=24))
    with pytest.raises(SystemExit) as stopped:
        run(tiny_world, tmp_path / "run", "--model.vocoder", str(checkpoint))
    assert stopped.value.code == 2
    assert "holds a vocoder of" in capsys.readouterr().err
