import json
from pathlib import Path

import gradio as gr
import pytest
import torch
from torch.nn.functional import normalize, one_hot

from multimodal.demo.cards import answered, asset, card, polite
from multimodal.demo.space import Point, Space, decoded, lay_out, moved, nearest, read_space, term
from multimodal.demo.space_map import SpaceMap
from multimodal.demo.space_tab import filled, space_tab, summed
from multimodal.factors import COLOURS
from multimodal.space import recolouring
from multimodal.tuples import MODALITIES, Tuples
from multimodal.unison import Unison
from tests.tiny_run import COUNT, write_run

N, KINDS = 60, 6


class Direct:
    """Calls a function here and now."""

    def __init__(self, run: Path):
        self.unison, self.calls = Unison(run, device="cpu"), 0

    def call(self, function):
        self.calls += 1
        return function(self.unison)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Direct:
    return Direct(write_run(tmp_path_factory.mktemp("runs") / "tiny"))


@pytest.fixture(scope="module")
def space(host: Direct) -> Space:
    return read_space(host.unison)


def gapped() -> dict[str, torch.Tensor]:
    """Six kinds in four modalities that lie apart: rows of one kind are alike but for noise."""
    generator = torch.Generator().manual_seed(0)
    kinds = one_hot(torch.arange(N) % KINDS, 16).float()
    return {
        m: normalize(kinds + 2 * one_hot(torch.tensor(10 + i), 16)
                     + 0.05 * torch.randn(N, 16, generator=generator), dim=-1)
        for i, m in enumerate(MODALITIES)
    }  # fmt: skip


def labelled(truth: dict[str, torch.Tensor], rows: dict[str, torch.Tensor]) -> Space:
    real = Tuples(
        signals={m: torch.zeros(len(rows[m]), 1) for m in rows},
        truth=truth,
        size=torch.full((len(truth["digit"]),), 0.5),
        held_out=torch.zeros(len(truth["digit"]), dtype=torch.bool),
        instances={},
    )
    return Space(real, rows)


def test_alike_samples_of_different_modalities_lie_together_on_the_map_despite_the_gap():
    places = lay_out(gapped(), perplexity=10.0)
    points, kind = torch.cat([places[m] for m in MODALITIES]), (torch.arange(N) % KINDS).repeat(4)
    modality = torch.arange(4).repeat_interleave(N)
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    near = distance.topk(10, largest=False).indices
    assert (kind[near] == kind[:, None]).float().mean() > 0.99
    assert (modality[near] != modality[:, None]).float().mean() > 0.5
    assert points.min() == 0
    assert points.max() == 1


def test_the_same_embeddings_give_the_same_map():
    first, second = (lay_out(gapped(), perplexity=10.0) for _ in range(2))
    assert all(torch.equal(first[m], second[m]) for m in MODALITIES)


def test_a_point_is_its_own_nearest_unless_it_is_left_out():
    space = labelled({"digit": torch.arange(N) % KINDS}, gapped())
    point = Point("image", 7)
    found = nearest(space, space[point], 3)
    assert found["image"][0].point == point
    assert found["image"][0].similarity == pytest.approx(1)
    others = nearest(space, space[point], 3, besides=point)
    assert others["image"] == nearest(space, space[point], 4)["image"][1:]
    assert others["text"] == found["text"]
    for row in others.values():
        assert [one.similarity for one in row] == sorted((o.similarity for o in row), reverse=True)
        assert all(one.point.index % KINDS == 7 % KINDS for one in row)


def test_no_more_neighbours_are_named_than_there_are():
    space = labelled({"digit": torch.arange(N) % KINDS}, gapped())
    found = nearest(space, space[Point("text", 0)], 1000, besides=Point("text", 0))
    assert [len(row) for row in found.values()] == [N - 1, N, N, N]


def test_sums_on_the_map_succeed_as_often_as_the_evaluation_says():
    i = torch.arange(N)
    truth = {"digit": i % 5, "colour": i // 5 % 3, "motion": i % 2}
    colours = torch.eye(3, 16)
    rows = normalize(colours[truth["colour"]] + one_hot(3 + truth["digit"], 16), dim=-1)
    rows = normalize(rows + 0.3 * torch.randn(N, 16, generator=torch.Generator()), dim=-1)
    space, right = labelled(truth, {"image": rows}), 0
    for index in range(N):
        wished, point = (int(truth["colour"][index]) + 1) % 3, Point("image", index)
        place = moved(space[point], colours[truth["colour"][index]], colours[wished])
        (best,) = nearest(space, place, 1, besides=point)["image"]
        found = {f: int(x[best.point.index]) for f, x in truth.items()}
        right += found["digit"] == truth["digit"][index] and found["colour"] == wished
    assert right / N == pytest.approx(recolouring(rows, colours, truth)["success"], abs=1e-4)


def test_test_samples_are_drawn_once_for_a_seed(host: Direct, space: Space):
    again, other = read_space(host.unison), read_space(host.unison, seed=1)
    assert len(space.real) == COUNT
    assert again.real.signals["text"] == space.real.signals["text"]
    assert other.real.signals["text"] != space.real.signals["text"]
    assert all(torch.equal(again.rows[m], space.rows[m]) for m in MODALITIES)
    assert len(read_space(host.unison, samples=5).real) == 5


def test_a_run_without_its_test_split_is_refused_in_one_line(host: Direct, tmp_path: Path):
    with pytest.raises(ValueError, match="world/test is not there"):
        read_space(Unison(tmp_path, device="cpu"))


def test_a_term_is_a_point_by_its_name_or_else_words(space: Space):
    assert term(space, " image 17 ") == Point("image", 17)
    assert term(space, "image of 17") == "image of 17"
    with pytest.raises(ValueError, match="image 40 is no point of the map"):
        term(space, "image 40")
    with pytest.raises(ValueError, match="is empty"):
        term(space, " ")


def test_words_that_are_decoded_are_what_the_run_generates_from_them(host: Direct):
    place = host.unison.embed({"text": ["a red seven"]})["text"][0]
    for name in MODALITIES:
        made = host.unison.generate(text="a red seven", to=[name], seed=3)[name][0]
        ours = decoded(host.unison, "text", place, name, seed=3)
        assert ours == made if name == "text" else torch.equal(ours, made)


def test_the_map_is_read_once_and_every_answer_is_json(host: Direct):
    space_map, before = SpaceMap(host), host.calls
    points = space_map.points()
    sample, near = space_map.sample("audio 3"), space_map.neighbours("video 3")
    assert host.calls == before + 1
    assert all(len(points["places"][m]) == COUNT for m in MODALITIES)
    assert points["palette"]["colour"][COLOURS.index("red")] == "rgb(225, 35, 35)"
    assert "data:audio/wav" in sample["html"]
    assert len(near["names"]) == 16
    assert "video 3" not in near["names"]
    assert len(json.dumps([points, sample, near])) < 1_000_000


@pytest.mark.parametrize("name", ["image", "image -1", "image 40", "smell 3", "", "image 1e3"])
def test_a_point_that_is_none_is_one_line_for_the_page(host: Direct, name: str):
    space_map = SpaceMap(host)
    answer = answered(lambda request: space_map.sample(request))(name)
    assert answer["wrong"]
    assert "is no point of the map" in answer["html"]


def test_a_text_cannot_bring_markup_into_the_page():
    assert "<b>" not in card("text", "<b>bold</b>", "<b>", "<b>")
    wrong = answered(lambda request: int(request))("<script>")
    assert wrong["html"].startswith("<p")
    assert "<script>" not in wrong["html"]


def test_the_users_mistake_is_told_and_a_defect_is_not_hidden():
    def mistaken(kind: type[Exception]) -> None:
        raise kind("line")

    with pytest.raises(gr.Error, match="line"):
        polite(mistaken)(ValueError)
    with pytest.raises(KeyError):
        polite(mistaken)(KeyError)


def test_a_sum_shows_what_is_generated_and_what_lies_nearest(host: Direct):
    html = summed(host, SpaceMap(host), ("image 3", "red", "blue"), ["image", "text"], 0)
    assert "image 3 - red + blue, generated" in html
    assert html.count('class="card') == 2 + 16


def test_a_point_fills_the_term_whose_button_was_pressed():
    updates = filled({"slot": "b", "name": "image 3"})
    assert [update.get("value") for update in updates] == [None, "image 3", None]


def test_the_tab_is_built_without_a_model_and_asks_nothing_of_the_network(host: Direct):
    before = host.calls
    with gr.Blocks() as page, gr.Tab("The shared space"):
        space_tab(host)
    assert host.calls == before
    config = json.dumps(page.get_config_file(), default=str)
    assert len(config) < 200_000
    for name in ("exhibits.css", "space_map.js"):
        assert "http" not in asset(name).replace("http://www.w3.org/2000/svg", "")
    (add_up, _) = page.fns.values()
    assert "generated" in add_up.fn("a red seven", "red", "blue", ["text"], 0)
