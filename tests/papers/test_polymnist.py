"""The world of five views, and the models over it: any names share towers and prior."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from core.checkpoint import describe
from core.denoiser import DenoiserConfig
from core.noise import mix
from core.plain import from_plain
from core.sampling import FlowOptions
from core.shards import ShardReader
from image import ImageEncoderConfig, ImageModule
from image.model import ImageConfig
from multimodal.alignment import AlignmentModule
from multimodal.casts import PriorTraining as Casts
from multimodal.casts import draw_cast
from multimodal.digits import load_digits
from multimodal.factors import SPLITS
from multimodal.prior import PriorModule
from multimodal.towers import TokensConfig, TowersConfig
from papers.polymnist_2023.data import condition, load_views, take
from papers.polymnist_2023.generate import System
from papers.polymnist_2023.shards import PolyConfig, shards
from papers.polymnist_2023.views import PIXELS, VIEWS, draw_view, invert, texture

E = 8
TINY = {"train": 12, "readers": 8, "val": 4, "test": 8}
TOKENS = TokensConfig(modalities=VIEWS, queries={}, plan="m0")


@pytest.fixture(scope="session")
def poly(tmp_path_factory):
    """Return a folder with a tiny world of five views."""
    out = tmp_path_factory.mktemp("poly") / "data"
    shards(out, **TINY)
    return out


@pytest.fixture(scope="session")
def towers():
    torch.manual_seed(0)
    config = TowersConfig(
        embedding=E, kinds=dict.fromkeys(VIEWS, "image"), image=ImageEncoderConfig(width=4)
    )
    return AlignmentModule(config)


@pytest.fixture(scope="session")
def prior():
    torch.manual_seed(0)
    net = DenoiserConfig(width=16, depth=1, heads=2)
    module = PriorModule(net, embedding=E, tokens=TOKENS)
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return module


def batch(views):
    facts = {"index": torch.arange(len(views)), "epoch": torch.tensor(0)}
    present = {view: torch.ones(len(views), dtype=torch.bool) for view in VIEWS}
    return dict(views.pictures) | facts | {"present": present}


def unit(count, seed=0):
    rows = torch.randn(count, E, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=-1)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(poly, tmp_path):
    shards(tmp_path / "again", **TINY)
    shards(tmp_path / "other", seed=1, **TINY)
    for split in SPLITS:
        first, again, other = (
            (root / split / "000000.tar").read_bytes()
            for root in (poly, tmp_path / "again", tmp_path / "other")
        )
        assert first == again != other


def test_no_handwriting_is_in_two_splits_and_all_of_it_shows_the_digit(poly):
    digits = load_digits("sklearn")
    seen = {split: load_views(poly / split) for split in SPLITS}
    for split, views in seen.items():
        shown = torch.from_numpy(digits.labels)[views.instances]
        assert torch.equal(shown, views.digit[:, None].expand_as(shown))
        assert set(views.instances.flatten().tolist()) <= set(digits.blocks[split])


def test_views_of_a_sample_show_different_handwriting(poly):
    instances = load_views(poly / "train").instances
    assert (instances.sort(dim=1).values.diff(dim=1) > 0).float().mean() > 0.9


def test_no_ink_leaves_the_texture_and_full_ink_inverts_it():
    crop = texture("m1")[:PIXELS, :PIXELS]
    np.testing.assert_allclose(invert(crop, np.zeros((PIXELS, PIXELS))), crop)
    np.testing.assert_allclose(invert(crop, np.ones((PIXELS, PIXELS))), 1 - crop)


@pytest.mark.parametrize("view", VIEWS)
def test_a_digit_stands_out_of_its_texture(view):
    """Inversion shows only where colours are far from middle grey."""
    contrast = np.abs(2 * texture(view) - 1).max(axis=2)
    assert np.mean(contrast > 0.3) > 0.95
    rng = np.random.default_rng(0)
    pixels, _ = draw_view(view, 3, load_digits("sklearn"), "train", rng)
    assert pixels.shape == (PIXELS, PIXELS, 3)


def test_a_condition_is_a_unit_vector_that_tells_its_view():
    rows = unit(4)
    told = torch.stack([condition(view, rows) for view in VIEWS])
    assert_close(told.norm(dim=-1), torch.ones(len(VIEWS), 4))
    assert_close(told[..., :E] * 2**0.5, rows.expand(len(VIEWS), -1, -1))
    assert (told[..., E:].argmax(dim=-1) == torch.arange(len(VIEWS))[:, None]).all()


def test_towers_of_any_names_align_by_all_pairs(towers, poly):
    loss = towers.training_step(batch(load_views(poly / "train")), 0)
    loss.backward()
    assert len(towers.pairs) == 10
    assert all(tower.head.weight.grad is not None for tower in towers.towers.values())
    towers.zero_grad()


def test_a_prior_of_any_tokens_learns_and_generates_what_is_missing(prior):
    rows = {view: unit(6, seed=i) for i, view in enumerate(VIEWS)}
    present = {view: torch.ones(6, dtype=torch.bool) for view in VIEWS}
    facts = {"index": torch.arange(6), "epoch": torch.tensor(0), "present": present}
    prior.training_step(rows | facts, 0).backward()
    assert prior.absent.grad is not None
    made = prior.generate({"m1": rows["m1"]}, FlowOptions(steps=2), seeds=range(6))
    assert made.keys() == set(VIEWS)
    assert_close(made["m1"], rows["m1"], atol=1e-5, rtol=0)
    prior.zero_grad()


def test_every_view_may_be_observed_and_generated():
    observed, generated = draw_cast(mix(0, torch.arange(500)), Casts(), TOKENS)
    assert observed.shape == (500, len(VIEWS))
    assert observed.any(dim=0).all()
    assert generated.any(dim=0).all()


def test_a_checkpoint_rebuilds_towers_and_prior_of_five_views(towers, prior):
    for module in (towers, prior):
        plain = json.loads(json.dumps(describe(module)["init"]))
        rebuilt = from_plain(type(module), plain)
        rebuilt.load_state_dict(module.state_dict())
    assert rebuilt.tokens == TOKENS


def test_checkpoints_from_before_the_names_were_a_choice_still_open():
    plain = describe(PriorModule(embedding=E))["init"]
    del plain["tokens"]
    assert from_plain(PriorModule, plain).tokens == TokensConfig()
    plain = describe(AlignmentModule())["init"]
    del plain["towers"]["kinds"]
    assert list(from_plain(AlignmentModule, plain).towers) == ["text", "image", "audio", "video"]


def test_a_plan_that_is_no_modality_is_refused():
    with pytest.raises(ValueError, match="text is named as a query or the plan but is no modality"):
        TokensConfig(modalities=VIEWS, queries={})


def test_the_system_draws_what_is_not_given(towers, prior, poly):
    net = DenoiserConfig(width=16, depth=1, heads=2)
    image = ImageModule(
        ImageConfig(size=PIXELS, patch=7, components=16, net=net), cond_dim=E + len(VIEWS)
    )
    system = System(towers.eval(), prior.eval(), image.eval())
    given = {"m2": load_views(poly / "test").pictures["m2"][:3]}
    made = system.generate(given, 3, 0, FlowOptions(steps=1))
    assert made.keys() == set(VIEWS) - {"m2"}
    assert all(pictures.shape == (3, 3, PIXELS, PIXELS) for pictures in made.values())
    assert_close(system.generate(take(given, slice(2)), 2, 0, FlowOptions(steps=1))["m0"],
                 made["m0"][:2])  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seed": -1}, "seed -1 is negative"), ({"test": 1}, "test is 1 but a split needs 2 samples")],
)
def test_a_world_that_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PolyConfig(**options)


def test_more_samples_than_there_are_is_refused(poly):
    with pytest.raises(ValueError, match="has 8 samples but 9 are asked for"):
        load_views(poly / "test", 9)


def test_shards_hold_the_five_views(poly):
    assert ShardReader(poly / "train").manifest.required == (*[f"{v}.png" for v in VIEWS], "json")
