"""Settings of the sampling benchmark, and what a perfect and a blind generator get."""

import pytest
import torch

from benchmarks.sampling import measured, parse, sampling
from core.cli import command
from core.sampling import FlowOptions
from multimodal.prior import SPREAD
from multimodal.readers import Reader
from multimodal.tuples import CARRIED, MODALITIES, Tuples
from multimodal.unison import Unison

N = 60


class Labels(Reader):
    """Reads rows that are labels, with a little noise as features."""

    def predict(self, signal):
        names = CARRIED["image"]
        return {name: signal[:, i].long() for i, name in enumerate(names)}

    def features(self, signal):
        return signal

    def size(self, signal):
        return signal[:, -1]


class Echo(Unison):
    """Every embedding is the source itself, and so is what is decoded; or all alike."""

    def __init__(self, blind=False):
        self.blind = blind

    def embed(self, signals):
        return dict(signals)

    def stage(self, name):
        return self

    def generate(self, observed, *, seeds, spread):
        rows = next(iter(observed.values()))
        return dict.fromkeys(MODALITIES, rows)

    def decode(self, modality, embeddings, options=None, *, seeds, first_frame=None):
        return torch.full_like(embeddings, 3.0) if self.blind else embeddings


@pytest.fixture
def real():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(8, (N, 2), generator=generator).float()
    rows = torch.cat([labels, torch.rand(N, 3, generator=generator)], dim=1)
    truth = {"digit": rows[:, 0].long(), "colour": rows[:, 1].long()}
    return Tuples(
        signals=dict.fromkeys(MODALITIES, rows),
        truth=truth | {"motion": torch.zeros(N, dtype=torch.long)},
        size=rows[:, -1],
        held_out=torch.zeros(N, dtype=torch.bool),
        instances={modality: torch.arange(N) for modality in MODALITIES},
    )


def test_a_generator_that_shows_its_source_agrees_and_covers_all(real):
    numbers = measured(Echo(), Labels(), real, "image", FlowOptions(), SPREAD, N, 0)
    assert numbers[:3] == (1.0, 1.0, 1.0)
    assert numbers[3] == pytest.approx(0, abs=1e-6)


def test_a_generator_that_always_shows_the_same_agrees_by_chance_and_covers_little(real):
    numbers = measured(Echo(blind=True), Labels(), real, "image", FlowOptions(), SPREAD, N, 0)
    assert numbers[0] < 0.2
    assert numbers[2] < 0.2
    assert numbers[3] > 1


def test_a_setting_changes_what_it_names_and_leaves_the_rest():
    options, spread = parse("steps=7+low=0+solver=heun+spread=0.3")
    assert (options.steps, options.solver, spread) == (7, "heun", 0.3)
    assert options.interval == (0.0, FlowOptions().interval[1])
    assert options.guidance == FlowOptions().guidance
    assert parse("guidance=1")[1] == SPREAD


@pytest.mark.parametrize(
    "wrong", ["steps", "steps=2.5", "speed=2", "solver=magic", "guidance=much"]
)
def test_a_setting_that_is_not_understood_is_one_clear_line(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        command(sampling, ["--run", "r", "--modality", "image", f"--settings=[{wrong}]"])
    assert stop.value.code == 2
    assert "is not understood; write name=value" in capsys.readouterr().err
