import base64
import io
import json
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import multimodal
from core.noise import normal, seeds_tensor
from multimodal.demo.inside import (
    FILMED,
    caption_attention,
    film,
    film_attention,
    quantised,
    wish,
)
from multimodal.demo.inside_tab import inside_tab, looked
from multimodal.demo.inside_view import HOLD, film_markup, known_markup, patch_data, reel_uri
from multimodal.demo.knowing import fitted, input_signal, probed, what_is_known
from multimodal.unison import Unison, stage_seeds
from tests.tiny_run import WIDTH, write_run

FIXTURES = Path(multimodal.__file__).parents[1] / "tests/fixtures"
TEXT, SEED = "a red seven", 5


class Direct:
    """Calls a function here and now."""

    def __init__(self, unison: Unison):
        self.unison = unison

    def call(self, function):
        return function(self.unison)


@pytest.fixture(scope="module")
def unison(tmp_path_factory: pytest.TempPathFactory) -> Unison:
    return Unison(write_run(tmp_path_factory.mktemp("runs") / "tiny"), device="cpu")


@pytest.mark.parametrize("modality", FILMED)
@pytest.mark.parametrize("text", [TEXT, ""])
def test_a_film_ends_with_what_the_run_generates(unison: Unison, modality: str, text: str):
    made = unison.generate(text=text or None, to=[modality], seed=SEED)[modality][0]
    shot = film(unison, modality, wish(unison, modality, text, SEED), SEED)
    assert torch.equal(shot.signal, made)
    assert len(shot.noisy) == len(shot.clean) == len(shot.trajectory.times) == 21


def test_a_film_begins_with_noise_and_takes_as_many_steps_as_asked(unison: Unison):
    shot = film(unison, "image", wish(unison, "image", TEXT, SEED), SEED, steps=4)
    module = unison.stage("image")
    seeds = seeds_tensor(stage_seeds([SEED], "image"))
    assert torch.equal(shot.trajectory.noisy[0], normal(seeds, module.token_shape))
    assert shot.trajectory.times == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert_close(shot.noisy[-1], shot.signal)
    assert shot.noisy.abs().max() <= 1


def test_the_frames_of_a_clip_stand_below_each_other(unison: Unison):
    shot = film(unison, "video", wish(unison, "video", TEXT, SEED), SEED, steps=2)
    assert shot.noisy.shape == (3, 3, 4 * 32, 32)
    assert_close(shot.noisy[-1][:, 32:64], shot.signal[1])


def test_text_has_no_film(unison: Unison):
    with pytest.raises(ValueError, match="text is not sampled in steps"):
        film(unison, "text", torch.zeros(1, WIDTH), 0)


def test_attention_over_a_film_has_all_steps_layers_and_heads(unison: Unison):
    cond = wish(unison, "image", TEXT, SEED)
    shot = film(unison, "image", cond, SEED, steps=4)
    weights = film_attention(unison, shot, cond)
    assert weights.shape == (4, 2, 2, 16, 16)
    assert_close(weights.sum(dim=-1), torch.ones(4, 2, 2, 16))
    data = patch_data(shot, weights)
    assert len(data["noisy"]) == len(data["clean"]) == len(data["times"]) == 4
    assert data["side"] == 4
    sent = np.frombuffer(base64.b64decode(data["weights"]), np.uint8).reshape(weights.shape)
    assert_close(torch.tensor(sent / 255).float(), weights, atol=0.002, rtol=0)


def test_attention_of_a_caption_looks_back_only_and_is_of_the_caption_generated(unison: Unison):
    seen = caption_attention(unison, TEXT, SEED)
    assert seen.caption == unison.generate(text=TEXT, to=["text"], seed=SEED)["text"][0]
    count, config = len(seen.tokens), unison.stage("text").net.config
    assert seen.weights.shape == (2, 2, count, count)
    assert_close(seen.weights.sum(dim=-1), torch.ones(2, 2, count))
    assert not seen.weights.triu(1).any()
    assert seen.tokens[config.prefix] == "<begin>"
    assert seen.tokens[0] == "<condition 1>"


def test_weights_become_bytes_by_rounding():
    assert quantised(torch.tensor([[0.0, 0.5, 1.0]])).tolist() == [[0, 128, 255]]


def test_a_moving_film_rests_at_its_end():
    pictures = torch.rand(5, 3, 8, 8) * 2 - 1
    data = base64.b64decode(reel_uri(pictures).partition(",")[2])
    # Equal frames are one frame that lasts longer.
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames in (5, 5 + HOLD)


@pytest.mark.parametrize("modality", FILMED)
def test_a_film_is_shown_whole_and_needs_no_other_file(unison: Unison, modality: str):
    html = film_markup(film(unison, modality, wish(unison, modality, TEXT, 0), 0, steps=3))
    assert html.count("t = ") == 4
    assert html.count("<img") >= 2 + 2 * 4
    assert "http" not in html


def test_probes_read_the_factor_that_embeddings_tell(unison: Unison):
    probes, accuracy = fitted(unison.run.resolve(), "image")
    place = torch.zeros(WIDTH)
    place[7] = 1.0
    known = probed(place, "image", probes, accuracy)
    assert max(known.labels["digit"], key=lambda label: known.labels["digit"][label]) == "7"
    assert known.accuracy["digit"] == 1.0
    assert set(known.labels) == {"digit", "colour"}
    for row in known.labels.values():
        assert sum(row.values()) == pytest.approx(1)
    assert 0 <= known.size <= 1


def test_what_a_modality_does_not_tell_is_said_not_shown(unison: Unison):
    html = known_markup(what_is_known(unison, *input_signal("", str(FIXTURES / "seven.wav"))))
    assert "this audio" in html
    assert "tells nothing of: motion" in html
    assert html.count('class="row"') == 10 + 8 + 1


def test_a_file_goes_before_words_and_both_may_be_wrong(tmp_path: Path):
    assert input_signal("words", str(FIXTURES / "seven.png"))[0] == "image"
    assert input_signal("words", None) == ("text", "words")
    with pytest.raises(ValueError, match="nothing is given"):
        input_signal(" ", None)
    with pytest.raises(ValueError, match="is of no known kind"):
        input_signal("", "song.mid")


def test_a_run_without_embeddings_cannot_be_probed_and_says_so(tmp_path: Path):
    with pytest.raises(ValueError, match="embeddings is not there"):
        fitted(tmp_path, "text")


def test_one_look_is_json_and_light(unison: Unison):
    caption, patches, html = looked(unison, TEXT, 0, "audio")
    assert len(json.dumps([caption, patches, html])) < 4_000_000
    assert len(caption["tokens"]) > caption["prefix"]


def test_the_tab_is_built_and_its_handlers_answer(unison: Unison):
    with gr.Blocks() as page, gr.Tab("Inside"):
        inside_tab(Direct(unison))
    look, know = page.fns.values()
    assert look.fn(TEXT, 0, "image")[2].startswith('<div class="reels">')
    assert "Read from the embedding" in know.fn("something red", None)
    with pytest.raises(gr.Error, match="nothing is given"):
        know.fn("", None)
