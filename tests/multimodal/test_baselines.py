"""Baselines: what each puts in the place of the prior."""

import pytest
import torch
from torch.nn.functional import normalize

from multimodal.baselines import (
    Copy,
    LabelPipeline,
    MeanShift,
    NoiseInjection,
    RawSwap,
    SharedLatent,
)
from multimodal.tuples import MODALITIES

N, WIDTH, SEEDS = 40, 6, [3, 4]


class Nothing:
    """Towers and generators that hand through what they are given."""

    def embed(self, signals):
        return dict(signals)

    def complete(self, observed, *, seeds):
        raise AssertionError("a baseline has no prior")

    def decode(self, modality, embeddings, *, seeds):
        return embeddings


@pytest.fixture
def train():
    generator = torch.Generator().manual_seed(0)
    shift = torch.randn(len(MODALITIES), 1, WIDTH, generator=generator)
    rows = torch.randn(len(MODALITIES), N, WIDTH, generator=generator) + shift
    return dict(zip(MODALITIES, normalize(rows, dim=-1), strict=True))


@pytest.fixture
def source(train):
    return train["image"][:2]


def test_a_raw_swap_hands_the_source_to_every_target(train, source):
    made = RawSwap(Nothing(), train).complete({"image": source}, seeds=SEEDS)
    assert all(torch.allclose(made[m], source) for m in MODALITIES)


def test_several_sources_are_averaged_and_an_observed_one_is_kept(train, source):
    observed = {"image": source, "text": train["text"][:2]}
    made = RawSwap(Nothing(), train).complete(observed, seeds=SEEDS)
    assert torch.equal(made["text"], observed["text"])
    between = normalize(source + observed["text"], dim=-1)
    assert torch.allclose(made["video"], between, atol=1e-6)


def test_from_nothing_each_modality_draws_for_itself(train):
    system = RawSwap(Nothing(), train)
    made = system.complete({}, seeds=range(N))
    drawn = {m: (made[m] @ train[m].T).argmax(1) for m in MODALITIES}
    assert all(torch.allclose(made[m], train[m][drawn[m]]) for m in MODALITIES)
    assert not torch.equal(drawn["text"], drawn["video"])
    again = system.complete({}, seeds=range(N))
    assert torch.equal(again["audio"], made["audio"])


def test_a_mean_shift_moves_a_modality_onto_the_centre_of_another(train):
    system = MeanShift(Nothing(), train)
    moved = system.moved(train["image"], "image", "audio")
    gap = {m: float((train[m].mean(0) - train["audio"].mean(0)).norm()) for m in ("image",)}
    assert float((moved.mean(0) - train["audio"].mean(0)).norm()) < 0.5 * gap["image"]
    assert torch.allclose(system.moved(train["text"], "text", "text"), train["text"], atol=1e-6)


def test_injected_noise_has_its_length_and_depends_on_the_seed_alone(train, source):
    system = NoiseInjection(Nothing(), train)
    made = system.complete({"image": source}, seeds=SEEDS)
    assert torch.equal(made["image"], source)
    assert not torch.allclose(made["text"], source, atol=0.05)
    alone = system.complete({"image": source[1:]}, seeds=SEEDS[1:])
    assert torch.allclose(alone["text"], made["text"][1:])


def test_a_copy_is_one_training_sample_in_all_modalities(train, source):
    signals = {m: torch.arange(N) for m in MODALITIES} | {"text": [str(i) for i in range(N)]}
    system = Copy(Nothing(), train, signals)
    made = system.complete({"image": source}, seeds=SEEDS)
    assert system.decode("audio", made["audio"], seeds=SEEDS).tolist() == [0, 1]
    assert system.decode("text", made["text"], seeds=SEEDS) == ["0", "1"]
    joint = system.complete({}, seeds=SEEDS)
    heard = system.decode("audio", joint["audio"], seeds=SEEDS)
    assert torch.equal(heard, system.decode("video", joint["video"], seeds=SEEDS))


def test_a_label_pipeline_keeps_labels_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    truth = {
        f: torch.randint(3, (300,), generator=generator) for f in ("digit", "colour", "motion")
    }
    codes = torch.randn(3, 3, WIDTH, generator=generator)
    clean = sum(codes[i][truth[f]] for i, f in enumerate(truth))
    rows = {m: normalize(clean + 0.01 * torch.randn(300, WIDTH), dim=-1) for m in MODALITIES}
    system = LabelPipeline(Nothing(), rows, truth)
    made = system.complete({"text": rows["text"][:50]}, seeds=range(50))
    chosen = {m: (made[m] @ rows[m].T).argmax(1) for m in MODALITIES}
    for factor, labels in truth.items():
        assert (labels[chosen["video"]] == labels[:50]).float().mean() > 0.95, factor
    assert torch.equal(chosen["image"], chosen["video"])
    assert (chosen["text"] != torch.arange(50)).any()


def test_the_shared_latent_hands_every_target_the_same(train, source):
    system = SharedLatent(Nothing(), train)
    given = system.complete({"image": source}, seeds=SEEDS)
    assert all(torch.equal(given[m], given["text"]) for m in MODALITIES)
    assert torch.allclose(given["text"], source)
    drawn = system.complete({}, seeds=range(N))
    assert all(torch.equal(drawn[m], drawn["text"]) for m in MODALITIES)
    assert len(drawn["text"].unique(dim=0)) > 5
