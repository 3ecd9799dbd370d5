"""Partial queries: identities and limits on labels that are said outright."""

import pytest
import torch

from multimodal.factors import COLOURS, MOTIONS, held_out
from multimodal.queries import ASKS, conditional, open_distance, score_query, training_table
from multimodal.tuples import CARRIED, MODALITIES

N = 2000


@pytest.fixture
def truth():
    drawn = torch.multinomial(
        training_table().flatten(), N, replacement=True, generator=torch.Generator().manual_seed(1)
    )
    colours, motions = len(COLOURS), len(MOTIONS)
    return {
        "digit": drawn // (colours * motions),
        "colour": drawn // motions % colours,
        "motion": drawn % motions,
    }


def _said(labels):
    return {m: {f: labels[f] for f in CARRIED[m]} for m in MODALITIES}


def test_training_knows_no_held_out_combination_and_all_digits_alike():
    table = training_table()
    assert table.sum() == pytest.approx(1.0)
    assert torch.allclose(table.sum((1, 2)), torch.full((10,), 0.1).double())
    assert all(
        (table[d, c, m] == 0) == held_out(d, COLOURS[c], MOTIONS[m])
        for d in range(10)
        for c in range(len(COLOURS))
        for m in range(len(MOTIONS))
    )


@pytest.mark.parametrize("name", ASKS)
def test_answers_drawn_as_training_is_stand_at_the_floor(name, truth):
    report = score_query(ASKS[name], _said(truth), truth)
    assert set(report["strict"].values()) == {1.0}
    assert report["agree"] == 1.0
    for distances in report["open"].values():
        for row in distances.values():
            assert row["distance"] == pytest.approx(row["floor"], abs=0.03)


def test_a_collapse_onto_one_answer_agrees_but_is_far_from_the_floor(truth):
    always = truth | {"digit": torch.full((N,), 7)}
    report = score_query(ASKS["a colour"], _said(always), truth)
    assert report["agree"] == 1.0
    assert report["open"]["image"]["digit"]["distance"] > 0.8
    assert report["open"]["image"]["digit"]["floor"] < 0.1


def test_outputs_that_each_choose_for_themselves_do_not_agree(truth):
    said = _said(truth)
    said["image"] = said["image"] | {"digit": said["image"]["digit"].roll(1)}
    report = score_query(ASKS["a colour"], said, truth)
    assert report["strict"]["image"] == 1.0
    assert report["agree"] < 0.3


def test_the_conditional_excludes_what_training_never_showed():
    given = torch.tensor([[3, 2]])
    row = conditional(("digit", "motion"), "colour", given)[0]
    allowed = torch.tensor([not held_out(3, colour, MOTIONS[2]) for colour in COLOURS])
    assert torch.equal(row > 0, allowed)
    assert float(row.sum()) == pytest.approx(1.0)


def test_what_cannot_be_read_is_as_far_as_can_be(truth):
    given = truth["colour"][:, None]
    expected = conditional(("colour",), "digit", given)
    assert open_distance(torch.full((N,), -1), given, expected)["distance"] == pytest.approx(1.0)
