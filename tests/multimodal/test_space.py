"""Measures of the shared space: identities and limits on embeddings that are their own labels."""

import pytest
import torch
from torch.nn.functional import normalize, one_hot

from multimodal.space import alike_counts, gaps, measure_space, ranks, recolouring, retrieval
from multimodal.tuples import MODALITIES, Tuples

N = 240
DIGITS, COLOURS, MOTIONS = 10, 8, 5


def _labels():
    i = torch.arange(N)
    return {"digit": i % DIGITS, "colour": i // DIGITS % COLOURS, "motion": i % MOTIONS}


def _hot(truth):
    parts = [one_hot(truth["digit"], DIGITS), one_hot(truth["colour"], COLOURS)]
    return normalize(torch.cat([*parts, one_hot(truth["motion"], MOTIONS)], 1).float(), dim=-1)


@pytest.fixture
def real():
    truth = _labels()
    return Tuples(
        signals={m: _hot(truth) for m in MODALITIES} | {"text": [str(i) for i in range(N)]},
        truth=truth,
        size=torch.rand(N, generator=torch.Generator().manual_seed(0)),
        held_out=torch.zeros(N, dtype=torch.bool),
        instances={m: torch.arange(N) for m in MODALITIES},
    )


class LabelTowers:
    """Embeds a signal as its labels, and a word as its label."""

    def embed(self, signals):
        return {m: _words(x) if m == "text" else x for m, x in signals.items()}


def _words(texts):
    if texts[0].isdigit():
        return _hot(_labels())[[int(text) for text in texts]]
    start = {10: 0, 8: DIGITS, 5: DIGITS + COLOURS}[len(texts)]
    return torch.eye(DIGITS + COLOURS + MOTIONS)[start : start + len(texts)]


def test_labels_alone_reach_the_label_ceiling_and_no_gap(real):
    report = measure_space(LabelTowers(), real)
    assert report["n"] == N
    assert len(report["retrieval"]) == 12
    for row in report["zero_shot"].values():
        for scores in row.values():
            assert scores["accuracy"] == scores["precision"] == scores["recall"] == 1.0
            assert sum(map(sum, scores["confusion"])) == N
    assert set(report["gap"].values()) == {0.0}
    for row in report["arithmetic"].values():
        assert row == {"success": 1.0, "without": 0.0}


def test_embeddings_of_unique_samples_retrieve_themselves_beyond_the_label_ceiling(real):
    rows = dict.fromkeys(MODALITIES, torch.eye(N))
    table = retrieval(rows, real)
    assert all(row["R@1"] == 1.0 for row in table.values())
    # Three samples share digit and colour (and with those the motion).
    assert table["image->audio"]["R@1 of labels"] == pytest.approx(1 / 3, abs=1e-3)
    assert table["image->audio"]["R@5 of labels"] == 1.0


def test_a_rank_counts_what_is_more_similar():
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    assert ranks(similarity).tolist() == [0, 1, 2]


def test_alike_counts_the_samples_with_all_labels_equal():
    assert alike_counts(torch.tensor([[1, 2], [1, 2], [1, 3]])).tolist() == [2, 2, 1]


def test_the_gap_is_the_distance_of_the_means():
    rows = {m: torch.tensor([[float(i), 0.0], [float(i), 0.0]]) for i, m in enumerate(MODALITIES)}
    assert gaps(rows)["text-video"] == 3.0


def test_arithmetic_needs_directions_that_are_shared():
    truth = _labels()
    wrong = torch.roll(torch.eye(DIGITS + COLOURS + MOTIONS), 3, dims=0)[DIGITS : DIGITS + COLOURS]
    assert recolouring(_hot(truth), wrong, truth)["success"] < 0.2
