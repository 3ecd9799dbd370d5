"""Identities and limits of the evaluation, on signals that are their own labels."""

from dataclasses import replace

import pytest
import torch

from multimodal import scores
from multimodal.directions import ALONE, latencies, make, read
from multimodal.evaluate import measure, measure_directions
from multimodal.factors import COLOURS, MOTIONS, held_out
from multimodal.tuples import CARRIED, MODALITIES, Tuples, pick

SIZES = {"digit": 10, "colour": 8, "motion": 5}
N = 60


class LabelReader:
    """Reads a signal that is a row (digit, colour, motion, size, nuisance...)."""

    def __init__(self, modality):
        self.modality = modality

    def predict(self, signal):
        columns = dict(zip(SIZES, signal.T, strict=False))
        return {factor: columns[factor].long() for factor in CARRIED[self.modality]}

    def size(self, signal):
        return signal[:, 3]

    def features(self, signal):
        return signal[:, 3:]


class Copier:
    """Embeds a signal as itself and decodes it as itself: nothing is lost."""

    def embed(self, signals):
        return dict(signals)

    def complete(self, observed, *, seeds):
        rows = next(iter(observed.values())) if observed else _draw(len(seeds), seed=9)
        return dict.fromkeys(MODALITIES, rows)

    def decode(self, modality, embeddings, *, seeds):
        return embeddings


class Ignorer(Copier):
    """Draws every modality on its own, whatever the source."""

    def decode(self, modality, embeddings, *, seeds):
        return _draw(len(embeddings), seed=MODALITIES.index(modality))


def _draw(count, seed):
    """Draw rows of combinations that training has seen."""
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randint(n, (4 * count,), generator=generator).tolist() for n in SIZES.values()]
    seen = [
        (digit, colour, motion)
        for digit, colour, motion in zip(*draws, strict=True)
        if not held_out(digit, COLOURS[colour], MOTIONS[motion])
    ]
    rest = torch.rand(count, 4, generator=generator)
    return torch.cat([torch.tensor(seen[:count]).float(), rest], 1)


@pytest.fixture
def real():
    rows = _draw(5 * N, seed=0)
    return Tuples(
        signals=dict.fromkeys(MODALITIES, rows),
        truth={factor: rows[:, i].long() for i, factor in enumerate(SIZES)},
        size=rows[:, 3],
        held_out=torch.zeros(len(rows), dtype=torch.bool),
        instances={modality: torch.arange(len(rows)) for modality in MODALITIES},
    )


@pytest.fixture
def readers():
    return {modality: LabelReader(modality) for modality in MODALITIES}


def test_a_system_that_loses_nothing_scores_one_everywhere(real, readers):
    report, _ = measure(Copier(), readers, real, N, seed=0)
    assert len(report["directions"]) == 16
    for row in report["directions"].values():
        assert (row["n"], row["strict"], row["reference"], row["ratio"]) == (N, 1.0, 1.0, 1.0)
        assert row["ci95"] == [1.0, 1.0]
        assert row["size"]["correlation"] == pytest.approx(1.0)
    assert report["summary"]["ratio_min"] == report["summary"]["diagonal_mean"] == 1.0
    assert report["joint"]["unconditional"] == report["joint"]["reference"] == 1.0
    assert report["recall"] == dict.fromkeys(MODALITIES, 1.0)
    for row in report["one_to_rest"].values():
        assert (row["agree"], row["reference"], row["ratio"]) == (1.0, 1.0, 1.0)


def test_second_readers_that_say_the_same_change_nothing_but_stand_beside(real, readers):
    alone, _ = measure(Ignorer(), readers, real, N, seed=0)
    both, _ = measure(Ignorer(), readers, real, N, seed=0, second=readers)
    assert "agreement" not in alone
    again = both["agreement"]
    assert again["summary"].items() <= both["summary"].items() == alone["summary"].items()
    assert again["joint"].items() <= both["joint"].items()


def test_a_system_that_ignores_its_source_scores_chance(real, readers):
    report, _ = measure(Ignorer(), readers, real, N, seed=0)
    assert report["summary"]["strict_mean"] < 0.1
    assert report["joint"]["unconditional"] < 0.1
    assert abs(report["summary"]["size_mean"]) < 0.3


def test_outputs_that_disagree_where_the_source_is_silent_do_not_agree(real, readers):
    made = {m: read(readers, {m: real.signals[m][:N]})[m] for m in MODALITIES}
    other = dict(made["text"].labels) | {"motion": (made["text"].labels["motion"] + 1) % 5}
    made["text"] = replace(made["text"], labels=other)
    readout = read(readers, real.signals)
    results = scores.Results(real=real, n=N, read=readout, made={"image": made}, joint={})
    row = scores.one_to_rest(results, "image")
    assert (row["agree"], row["reference"]) == (0.0, 1.0)
    assert set(row["open"]) == {"text motion", "video motion"}


def test_unseen_combinations_have_a_matrix_of_their_own(real, readers):
    report = measure_directions(Copier(), readers, real, N, seed=0)
    assert report["n"] == N
    assert report["summary"]["ratio_min"] == 1.0
    assert len(report["directions"]) == 16


def test_the_spread_over_repetitions_is_that_of_the_headlines(real, readers):
    reports = [measure(Ignorer(), readers, real, N, seed=seed)[0] for seed in (0, 1)]
    reports[1]["summary"] = reports[0]["summary"] | {"strict_mean": 0.5}
    reports[0]["summary"] = reports[0]["summary"] | {"strict_mean": 0.1}
    row = scores.spread(reports)["strict_mean"]
    assert row["values"] == [0.1, 0.5]
    assert row["mean"] == pytest.approx(0.3)
    assert row["sd"] == pytest.approx(0.08**0.5, abs=1e-4)
    assert scores.headlines(reports[0])["recall_video"] == reports[0]["recall"]["video"]


def test_a_copy_of_a_training_signal_is_near_it(real, readers):
    trained = {m: readers[m].features(real.signals[m][:N]) for m in MODALITIES}
    report, _ = measure(Copier(), readers, real, N, seed=0, trained=trained)
    for row in report["diversity"].values():
        assert row["nearest_training"] == 0.0
        assert len(row["recall_by_digit"]) == 10


def test_strict_asks_for_motion_only_between_text_and_video(real):
    results = scores.Results(real=real, n=N, read={}, made={}, joint={})
    for pair in (("text", "video"), ("video", "video")):
        assert scores.strict_factors(results, *pair) == ("digit", "colour", "motion")
    for pair in (("text", "image"), ("audio", "video")):
        assert scores.strict_factors(results, *pair) == ("digit", "colour")
    fewer = replace(results, factors=("colour",))
    assert scores.strict_factors(fewer, "text", "video") == ("colour",)


def test_the_reference_is_the_product_of_the_readers_own_accuracies(real, readers):
    wrong = real.truth | {"digit": real.truth["digit"].clone()}
    wrong["digit"][: len(real) // 4] += 1  # a quarter of the labels no longer match the signals
    row = _direction(replace(real, truth=wrong), readers, "image", "audio")
    assert row["reference"] == pytest.approx(0.75**2, abs=1e-3)


def _direction(real, readers, source, target):
    readout = read(readers, real.signals)
    made = {source: read(readers, {target: real.signals[target][:N]})}
    results = scores.Results(real=real, n=N, read=readout, made=made, joint={})
    return scores.direction(results, source, target)


def test_the_diagonal_stands_apart_from_the_summary():
    row = {"strict": 0.5, "ratio": 0.6, "size": {"correlation": 0.1, "ratio": 0.2}}
    perfect = {"strict": 1.0, "ratio": 1.0, "size": {"correlation": 1.0, "ratio": 1.0}}
    directions = {f"{s}->{t}": perfect if s == t else row for s in MODALITIES for t in MODALITIES}
    summary = scores.summarise(directions)
    assert (summary["strict_mean"], summary["strict_min"]) == (0.5, 0.5)
    assert (summary["ratio_mean"], summary["diagonal_mean"]) == (0.6, 1.0)


def test_batches_change_nothing(real, monkeypatch):
    whole = make(Copier(), {"image": pick(real.signals["image"], range(N))}, list(range(N)))
    monkeypatch.setattr("multimodal.directions.BATCH", 7)
    parts = make(Copier(), {"image": pick(real.signals["image"], range(N))}, list(range(N)))
    assert torch.equal(whole.signals["video"], parts.signals["video"])


class Timed(Copier):
    """Takes time to decode clips, more the first time, and remembers how many it was given."""

    def __init__(self):
        self.counts, self.now = [], 0.0

    def perf_counter(self):
        """Stand in for the clock."""
        return self.now

    def decode(self, modality, embeddings, *, seeds):
        self.counts.append(len(embeddings))
        if modality == "video":
            self.now += 0.2 if len(self.counts) < 5 else 0.005
        return embeddings


def test_latency_is_of_one_sample_at_a_time_and_leaves_the_first_out(real, monkeypatch):
    system = Timed()
    monkeypatch.setattr("multimodal.directions.time", system)
    seconds = latencies(system, real.signals)
    assert set(system.counts) == {1}
    assert len(system.counts) == 16 * (ALONE + 1)
    assert set(seconds) == set(seconds["text"]) == set(MODALITIES)
    assert seconds["text"]["video"] == pytest.approx(0.005)
    assert seconds["text"]["image"] == 0
