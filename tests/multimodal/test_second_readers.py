"""Second readers: descriptors that see what they should and no more, learners solved exactly."""

import numpy as np
import pytest
import torch
from einops import rearrange
from safetensors.torch import save_file

from multimodal import second_inputs as inputs
from multimodal import second_readers
from multimodal.captions import caption
from multimodal.digits import load_digits
from multimodal.drawing import draw_look, render_image, render_video
from multimodal.factors import COLOURS, LABELS, MOTIONS, Factors
from multimodal.learners import KernelMachine, NaiveBayes
from multimodal.second_readers import TRAITS, fit, load_second_readers
from multimodal.tuples import CARRIED, MODALITIES, Tuples

DIGITS = load_digits("sklearn")


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def _signal(pixels):
    return rearrange(torch.from_numpy(pixels).float() / 127.5 - 1, "... H W C -> ... C H W")


def _drawn(split, count, seed):
    """Pictures, clips and captions of as many scenes; sounds are noise."""
    rng = np.random.default_rng(seed)
    pictures, clips, captions, scenes = [], [], [], []
    for n in range(count):
        scene = Factors(n % 3, COLOURS[rng.integers(8)], MOTIONS[rng.integers(5)], rng.random())
        look = draw_look(DIGITS.instances(split, scene.digit), scene.colour, rng)
        scan = DIGITS.images[look.instance]
        pictures.append(_signal(render_image(scan, look, scene.size, rng)))
        clips.append(_signal(render_video(scan, look, scene.size, scene.motion, rng)))
        captions.append(caption(scene, "en", rng))
        scenes.append((scene.digit, COLOURS.index(scene.colour), MOTIONS.index(scene.motion)))
    truth = dict(zip(LABELS, torch.tensor(scenes).T, strict=True))
    sounds = torch.from_numpy(rng.normal(size=(count, 4000))).float()
    rows = torch.arange(count)
    return Tuples(
        signals={"text": captions, "image": torch.stack(pictures), "audio": sounds,
                 "video": torch.stack(clips)},
        truth=truth, size=torch.zeros(count), held_out=torch.zeros(count, dtype=torch.bool),
        instances=dict.fromkeys(MODALITIES, rows),
    )  # fmt: skip


@pytest.fixture(scope="module")
def scenes():
    return _drawn("readers", 240, 0), _drawn("test", 60, 1)


@pytest.mark.parametrize("modality", ["image", "video"])
def test_what_is_learned_holds_for_hands_never_seen(scenes, modality):
    seen, unseen = scenes
    read = fit(modality, seen).predict(unseen.signals[modality])
    for factor in CARRIED[modality]:
        right = (read[factor] == unseen.truth[factor]).float().mean()
        assert float(right) > 0.9, factor


def _captions(count, seed):
    rng = np.random.default_rng(seed)
    labels = [rng.integers(n, size=count) for n in LABELS.values()]
    texts = [
        caption(Factors(int(digit), COLOURS[colour], MOTIONS[motion], rng.random()), "en", rng)
        for digit, colour, motion in zip(*labels, strict=True)
    ]
    return texts, {f: torch.from_numpy(x) for f, x in zip(LABELS, labels, strict=True)}


def test_captions_are_read_without_their_grammar_and_nothing_from_nothing():
    texts, truth = _captions(4000, 0)
    machine = NaiveBayes.fit(inputs.words(texts), truth)
    texts, truth = _captions(200, 1)
    read = machine.predict(inputs.words(texts), tuple(LABELS))
    assert all((read[factor] == truth[factor]).float().mean() > 0.98 for factor in LABELS)
    read = machine.predict(inputs.words(["a big red seven", "", "qq zz"]), tuple(LABELS))
    assert read["digit"].tolist() == [7, -1, -1]
    assert read["colour"].tolist() == [COLOURS.index("red"), -1, -1]
    assert read["motion"].tolist()[1:] == [-1, -1]


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_factor_that_a_modality_carries_is_read_once(modality):
    told = [factor for trait in TRAITS[modality].values() for factor in trait.factors]
    assert sorted(told) == sorted(CARRIED[modality])


def test_a_reader_is_read_back_as_it_was_saved(scenes, tmp_path):
    seen, unseen = scenes
    for modality in MODALITIES:
        reader = fit(modality, seen)
        second_readers._save(reader, tmp_path)
        again = second_readers._load(modality, tmp_path / f"second_{modality}.safetensors")
        before, after = (r.predict(unseen.signals[modality]) for r in (reader, again))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[factor], after[factor]) for factor in before)
    assert set(load_second_readers(tmp_path)) == set(MODALITIES)


def test_missing_second_readers_say_how_to_train_them(tmp_path):
    with pytest.raises(ValueError, match=r"second_text.*python -m multimodal\.readers"):
        load_second_readers(tmp_path)


@pytest.mark.parametrize("damage", ["damaged", "of another version"])
def test_second_readers_that_do_not_fit_say_so(tmp_path, damage):
    path = tmp_path / "second_text.safetensors"
    if damage == "damaged":
        path.write_bytes(b"\x00" * 64)
    else:
        save_file({"words.votes": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="holds no second reader of this version"):
        load_second_readers(tmp_path)


def test_a_kernel_machine_of_equal_samples_still_says_what_they_are():
    x = torch.tensor([[0.0, 0.0], [5.0, 5.0]]).repeat(20, 1)
    digit = torch.tensor([3, 8]).repeat(20)
    machine = KernelMachine.fit(x, {"digit": digit})
    assert torch.equal(machine.predict(x, ("digit",))["digit"], digit)


def test_a_kernel_machine_learns_what_no_line_divides():
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    truth = {"digit": torch.tensor([0, 0, 1, 1]), "colour": torch.tensor([2, 3, 4, 5])}
    read = KernelMachine.fit(x, truth).predict(x, ("digit", "colour"))
    assert all(torch.equal(read[factor], truth[factor]) for factor in truth)


def test_naive_bayes_weighs_counts_as_bayes_rule_does():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    machine = NaiveBayes.fit(x, {"motion": torch.tensor([0, 0, 1])})
    # Of label 0: prior (2 + 1) / 4, bins (2 + 1) / 4 and (0 + 1) / 4.
    assert machine.prior[:2].exp().tolist() == pytest.approx([3 / 4, 2 / 4])
    assert machine.likelihood[:, 0].exp().tolist() == pytest.approx([3 / 4, 1 / 4])


def test_a_shape_does_not_depend_on_colour_or_place():
    picture = torch.full((1, 3, 32, 32), -1.0)
    picture[..., 8:20, 10:13] = 1.0
    picture[..., 17:20, 10:18] = 1.0
    painted = torch.where(picture > 0, torch.tensor([0.9, -0.8, 0.1])[:, None, None], 1.0)
    moved = picture.roll((2, 3), (2, 3))
    shape = inputs.shape(picture)
    assert torch.allclose(shape, inputs.shape(painted), atol=2e-3)
    assert torch.allclose(shape, inputs.shape(moved), atol=2e-3)
    assert not torch.allclose(shape, inputs.shape(picture.mT), atol=0.1)


def test_a_palette_does_not_depend_on_places(generator):
    picture = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1
    order = torch.randperm(256, generator=generator)
    shuffled = rearrange(picture, "B C H W -> B C (H W)")[..., order]
    shuffled = rearrange(shuffled, "B C (H W) -> B C H W", H=16)
    assert torch.allclose(inputs.palette(picture), inputs.palette(shuffled), atol=1e-5)
    assert torch.allclose(inputs.palette(picture).square().sum(1), torch.ones(2))


@pytest.mark.parametrize("step", [(0, 0), (2, 0), (0, -2), (-1, 1)])
def test_the_shift_of_a_clip_is_where_its_frames_correlate(step, generator):
    frame = torch.rand(1, 3, 32, 32, generator=generator)
    clip = torch.stack([frame.roll((step[0] * t, step[1] * t), (2, 3)) for t in range(4)], 1)
    surface = rearrange(inputs.shifts(clip), "1 (Y X) -> Y X", X=2 * inputs.REACH + 1)
    peak = divmod(int(surface.argmax()), surface.shape[1])
    assert peak == (inputs.REACH + step[0], inputs.REACH + step[1])


def test_cepstra_do_not_depend_on_loudness_or_on_when_it_is_said(generator):
    said = torch.zeros(1, 10400)
    said[:, 800:6400] = torch.randn(1, 5600, generator=generator) * torch.linspace(1, 0.2, 5600)
    heard = inputs.cepstra(said)
    assert torch.allclose(heard, inputs.cepstra(3 * said), atol=1e-3)
    assert torch.allclose(heard, inputs.cepstra(said.roll(1600, 1)), atol=1e-3)


def test_empty_signals_have_descriptions_that_are_numbers():
    blank = torch.zeros(2, 4, 3, 32, 32)
    described = [inputs.clip_shape(blank), inputs.clip_palette(blank), inputs.shifts(blank),
                 inputs.cepstra(torch.zeros(2, 10400)), inputs.words(["", ""])]  # fmt: skip
    assert all(x.isfinite().all() for x in described)
