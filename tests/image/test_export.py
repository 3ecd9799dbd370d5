"""Claims about the folder for diffusers: it stands alone, and draws the same images."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from core.checkpoint import AtomicCheckpointIO, load_module
from core.cli import command
from core.denoiser import DenoiserConfig
from core.pictures import to_pillow
from core.sampling import FlowOptions
from image import ImageConfig, ImageModule
from image.export import export
from tests.alone import card_code, run_alone
from tests.refusals import refused, write_wrong_things

NET = DenoiserConfig(width=16, depth=2, heads=2)
WIDTH = 8
DRAWN: dict[str, tuple[bool, str, FlowOptions]] = {
    "nothing": (False, "", FlowOptions()),
    "embedding": (True, "", FlowOptions()),
    "guidance": (True, "guidance_scale=5.0, interval=(0.0, 1.0)", FlowOptions(20, 5.0, (0.0, 1.0))),
    "heun": (True, "num_inference_steps=5, solver='heun'", FlowOptions(5, solver="heun")),
    "dpm": (True, "num_inference_steps=5, solver='dpm++'", FlowOptions(5, solver="dpm++")),
    "shift": (False, "num_inference_steps=5, shift=2.0", FlowOptions(5, shift=2.0)),
}
"""How images are drawn: with embeddings or not, the pipeline's options, ours."""


def write_checkpoint(path: Path, cond_dim: int = WIDTH) -> ImageModule:
    """Write a checkpoint of a random model, its averaged weights other than its own."""
    torch.manual_seed(0)
    module = ImageModule(ImageConfig(size=16, components=20, net=NET), cond_dim=cond_dim)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    module.codec.fit(torch.randn(40, 3, 16, 16).clamp(-1, 1))
    checkpoint = {"state_dict": module.state_dict(), "global_step": 7}
    checkpoint["ema"] = {name: 0.9 * weight for name, weight in module.named_parameters()}
    module.on_save_checkpoint(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return module


def call(*argv: str | Path) -> None:
    command(export, [str(word) for word in argv])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Return a folder with a checkpoint, its export `model`, and what that drew elsewhere."""
    folder = tmp_path_factory.mktemp("export")
    write_checkpoint(folder / "run/image/last.ckpt")
    call(
        "--checkpoint",
        folder / "run/image/last.ckpt",
        "--to",
        "diffusers",
        "--out",
        folder / "model",
    )
    torch.save(torch.randn(2, WIDTH), folder / "embeddings.pt")
    drawings = [
        f"drawn[{name!r}] = pipeline({'embeddings, ' if told else ''}seeds=range(3, 7),"
        f" output_type='pt', {options}).images"
        for name, (told, options, _) in DRAWN.items()
    ]
    code = [
        card_code(folder / "model/README.md"),
        "import torch; embeddings, drawn = torch.load('embeddings.pt'), {}",
        *drawings,
        "pipeline(embeddings[0], seeds=[5]).images[0].save('five.png')",
        "again = DiffusionPipeline.from_pretrained('model', trust_remote_code=True)",
        "drawn['again'] = again(seeds=range(3, 7), output_type='pt', return_dict=False)[0]",
        "torch.save(drawn, 'drawn.pt')",
    ]
    run_alone("\n".join(code), folder)
    return folder


@pytest.fixture(scope="module")
def module(root: Path) -> ImageModule:
    return load_module(root / "run/image/last.ckpt", ImageModule)


@pytest.mark.parametrize("name", DRAWN)
def test_a_folder_without_us_draws_our_images_bit_for_bit(
    root: Path, module: ImageModule, name: str
):
    told, _, options = DRAWN[name]
    cond = torch.nn.functional.normalize(torch.load(root / "embeddings.pt"), dim=-1).repeat(2, 1)
    ours = module.generate(cond if told else None, options, seeds=range(3, 7))
    drawn = torch.load(root / "drawn.pt")[name]
    assert drawn.std() > 0.05
    assert torch.equal(drawn, (ours + 1) / 2)


def test_a_folder_loads_without_naming_its_pipeline_too(root: Path):
    drawn = torch.load(root / "drawn.pt")
    assert torch.equal(drawn["again"], drawn["nothing"])


def test_pictures_are_those_of_our_files(root: Path, module: ImageModule):
    cond = torch.nn.functional.normalize(torch.load(root / "embeddings.pt")[:1], dim=-1)
    (ours,) = module.generate(cond, seeds=[5])
    assert Image.open(root / "five.png").tobytes() == to_pillow(ours).tobytes()


def test_the_code_of_the_card_runs_and_draws(root: Path):
    assert Image.open(root / "0.png").size == (256, 256)


def test_weights_lie_as_diffusers_lays_them_and_are_the_average_unless_raw(root: Path, tmp_path):
    checkpoint = root / "run/image/last.ckpt"
    call(
        "--checkpoint", checkpoint, "--to", "diffusers", "--out", tmp_path / "raw", "--raw", "true"
    )
    held = torch.load(checkpoint, weights_only=True)
    name = "transformer/diffusion_pytorch_model.safetensors"
    averaged, raw = load_file(root / "model" / name), load_file(tmp_path / "raw" / name)
    assert averaged.keys() == {n for n in held["state_dict"] if n.startswith("net.")}
    assert all(torch.equal(weight, held["ema"][n]) for n, weight in averaged.items())
    assert all(torch.equal(weight, held["state_dict"][n]) for n, weight in raw.items())
    config = json.loads((root / "model/transformer/config.json").read_text())
    assert config["_class_name"] == "UnisonImageTransformer"
    assert config["cond_dim"] == WIDTH
    assert "not measured here" in (tmp_path / "raw/README.md").read_text().lower()


def test_a_model_without_a_condition_leaves_too_and_takes_none(tmp_path: Path):
    from image.pipeline import UnisonImageCodec, UnisonImagePipeline, UnisonImageTransformer

    ours = write_checkpoint(tmp_path / "last.ckpt", cond_dim=0)
    call(
        "--checkpoint",
        tmp_path / "last.ckpt",
        "--to",
        "diffusers",
        "--out",
        tmp_path / "m",
        "--raw",
        "true",
    )
    transformer = UnisonImageTransformer.from_pretrained(tmp_path / "m/transformer")
    codec = UnisonImageCodec.from_pretrained(tmp_path / "m/codec")
    pipeline = UnisonImagePipeline(transformer, codec)
    drawn = pipeline(seeds=[1, 2], output_type="pt").images
    assert torch.equal(drawn, (ours.eval().generate(None, seeds=[1, 2]) + 1) / 2)
    with pytest.raises(ValueError, match=r"embeddings are \[8\] but this model takes \[0\]"):
        pipeline(torch.ones(8))
    with pytest.raises(ValueError, match="output_type is 'np'"):
        pipeline(output_type="np")
    with pytest.raises(ValueError, match="solver is 'rk4'"):
        pipeline(solver="rk4")
    with pytest.raises(ValueError, match="steps is 0"):
        pipeline(num_inference_steps=0)
    with pytest.raises(ValueError, match=r"weights are torch\.float16"):
        pipeline.to(torch.float16)()


def test_the_card_tells_licence_data_figures_limits_and_has_the_header_of_hubs(root: Path):
    card = (root / "model/README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["library_name"] == "diffusers"
    assert header["license"] == "unknown"
    assert header["pipeline_tag"] == "unconditional-image-generation"
    for title in ("Use", "Data", "Figures", "Limits", "Licence", "Origin"):
        assert f"\n## {title}\n" in card
    assert "16 x 16" in card
    assert "7 steps, seed 0" in card


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--checkpoint", "garbage.ckpt"], "is damaged or no checkpoint"),
        (["--checkpoint", "cut.ckpt"], "is damaged"),
        (["--checkpoint", "foreign.ckpt"], "was not written by Unison"),
        (["--checkpoint", "audio.ckpt"], "holds a audio model but a image model is needed"),
        (["--checkpoint", "none.ckpt"], "none.ckpt is not there"),
        (["--out", "full"], "full is not empty"),
        (["--out", "full/mine.txt"], "mine.txt is a file"),
        (["--to", "onyx"], "onyx"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(root, tmp_path, monkeypatch, capsys, argv, line):
    write_wrong_things(tmp_path, (root / "run/image/last.ckpt").read_bytes(), "audio")
    monkeypatch.chdir(tmp_path)
    assert line in refused(call, "diffusers", argv, tmp_path, capsys)
