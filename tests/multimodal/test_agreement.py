"""Two readers of the same signals: where they agree, and what each makes of a run."""

from dataclasses import replace

import pytest
import torch

from multimodal.agreement import compare_readers, read_again
from multimodal.directions import Readout
from multimodal.factors import LABELS
from multimodal.scores import Results
from multimodal.tuples import CARRIED, MODALITIES, Tuples

N = 40


class Shifted:
    """Reads a row (digit, colour, motion) as it is, but for a digit too high by `wrong`."""

    def __init__(self, modality, wrong=0):
        self.modality, self.wrong = modality, wrong

    def predict(self, signal):
        columns = dict(zip(LABELS, signal.T, strict=True))
        read = {factor: columns[factor] for factor in CARRIED[self.modality]}
        return read | {"digit": (read["digit"] + self.wrong) % 10}


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randint(n, (N,), generator=generator) for n in LABELS.values()]
    return torch.stack(columns, 1)


@pytest.fixture
def results(rows):
    """A run that makes of every source what it shows, read rightly by the first readers."""
    signals = dict.fromkeys(MODALITIES, rows)
    size, none = torch.arange(float(N)), torch.zeros(N, 0)
    read = {m: Readout(Shifted(m).predict(x), size, none) for m, x in signals.items()}
    real = Tuples(
        signals=signals, truth=Shifted("text").predict(rows), size=size,
        held_out=torch.zeros(N, dtype=torch.bool),
        instances=dict.fromkeys(MODALITIES, torch.arange(N)),
    )  # fmt: skip
    return Results(real=real, n=N, read=read, made=dict.fromkeys(MODALITIES, read), joint=read)


def _compare(results, wrong):
    signals = results.real.signals
    readers = {m: Shifted(m, wrong.get(m, 0)) for m in MODALITIES}
    again = read_again(results, readers, dict.fromkeys(MODALITIES, signals), signals)
    return compare_readers(results, again)


def test_readers_that_say_the_same_agree_in_everything(results):
    report = _compare(results, {})
    for factors in report["readers"].values():
        assert all(set(row.values()) == {1.0} for row in factors.values())
    assert report["summary"]["ratio_min"] == report["joint"]["unconditional"] == 1.0
    assert len(report["directions"]) == 16


def test_a_second_reader_that_errs_alone_is_seen_in_its_own_row(results):
    report = _compare(results, {"image": 1})
    right = {"first": 1.0, "second": 1.0, "agree_real": 1.0, "agree_made": 1.0, "agree_joint": 1.0}
    wrong = dict.fromkeys(right, 0.0) | {"first": 1.0}
    assert report["readers"]["image"] == {"digit": wrong, "colour": right, "strict": wrong}
    assert report["readers"]["video"]["strict"] == right
    assert report["directions"]["text->image"]["strict"] == 0.0
    assert report["directions"]["text->audio"]["strict"] == 1.0
    assert report["joint"]["unconditional"] == 0.0


def test_readers_may_agree_on_what_is_wrong(results):
    wrong = results.joint["audio"].labels | {"digit": torch.full((N,), -1)}
    unread = {**results.joint, "audio": replace(results.joint["audio"], labels=wrong)}
    again = replace(results, joint=unread)
    row = compare_readers(again, again)["readers"]["audio"]["digit"]
    assert (row["second"], row["agree_joint"]) == (1.0, 1.0)
