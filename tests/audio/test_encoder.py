import torch

from audio.augment import augment
from audio.encoder import AudioEncoder, AudioEncoderConfig
from core.noise import mix

SEEDS = mix(0, torch.arange(4))


def waves() -> torch.Tensor:
    """Four tones in a little noise."""
    time = torch.arange(10400) / 8000
    tones = torch.sin(2 * torch.pi * torch.tensor([[150.0], [400.0], [900.0], [2000.0]]) * time)
    return 0.2 * tones + 0.01 * torch.randn(4, 10400, generator=torch.Generator().manual_seed(0))


def test_embeddings_have_unit_norm():
    embeddings = AudioEncoder(AudioEncoderConfig(embedding=16))(waves())
    assert embeddings.shape == (4, 16)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))


def test_gain_does_not_matter():
    encoder = AudioEncoder().eval()
    torch.testing.assert_close(encoder(waves()), encoder(0.3 * waves()), atol=1e-4, rtol=1e-3)


def test_silence_has_an_embedding():
    assert AudioEncoder()(torch.zeros(2, 10400)).isfinite().all()


def test_augmentation_is_a_function_of_each_samples_seed():
    together = augment(waves(), SEEDS, 0.1)
    alone = augment(waves()[2:3], SEEDS[2:3], 0.1)
    torch.testing.assert_close(together[2:3], alone)
    assert not torch.allclose(together[0], augment(waves(), SEEDS + 1, 0.1)[0])


def test_only_training_varies_the_sound():
    encoder = AudioEncoder().eval()
    torch.testing.assert_close(encoder(waves(), SEEDS), encoder(waves()))
    encoder.train()
    assert not torch.allclose(encoder(waves(), SEEDS), encoder(waves()))


def test_overfits_one_batch():
    torch.manual_seed(0)
    encoder, target = AudioEncoder(), torch.eye(64)[:4]
    optimiser = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    for _ in range(25):
        loss = (encoder(waves()) - target).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.05
