import math

import pytest
import torch
from torch.testing import assert_close

from core.noise import seeds_for, uniform
from multimodal.alignment import AlignmentModule
from multimodal.losses import info_nce
from multimodal.towers import MODALITIES, TowersConfig
from text import TextEncoderConfig

SMALL = TowersConfig(embedding=16, text=TextEncoderConfig(width=16, depth=1, heads=2))
WORDS = ("one", "two", "three", "four", "five", "six")


def build(**options):
    torch.manual_seed(0)
    return AlignmentModule(towers=SMALL, **options)


def batch(size=6):
    """Return pairs that are easy to tell apart: a word, a pattern, a tone, a moving pattern."""
    generator = torch.Generator().manual_seed(0)
    coarse = 2 * torch.rand(size, 3, 4, 4, generator=generator) - 1
    pattern = coarse.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    hertz = torch.linspace(300, 3000, size)
    tone = 0.5 * torch.sin(2 * math.pi * hertz[:, None] * torch.arange(10400) / 8000)
    rows = {
        "text": [f"a {word}" for word in WORDS[:size]],
        "image": pattern,
        "audio": tone,
        "video": torch.stack([pattern.roll(shift, dims=3) for shift in range(4)], dim=1),
        "query_text": list(WORDS[:size]),
        "query_audio": tone.flip(1),
        "index": torch.arange(size),
        "epoch": torch.tensor(0),
    }
    return rows | {"present": {name: torch.ones(size, dtype=torch.bool) for name in MODALITIES}}


def test_all_pairs_are_aligned_or_only_those_of_the_anchor():
    assert len(build().pairs) == 6
    assert build(anchor="image").pairs == [
        ("text", "image"),
        ("image", "audio"),
        ("image", "video"),
    ]


def test_embeddings_are_unit_vectors_of_one_width():
    embedded = build().eval().embed_batch(batch())
    assert embedded.keys() == set(MODALITIES)
    for rows in embedded.values():
        assert rows.shape == (6, 16)
        assert_close(rows.norm(dim=1), torch.ones(6))


def test_a_pairs_loss_is_info_nce_at_its_own_capped_scale():
    module, rows = build(max_scale=30.0).eval(), batch()
    embedded = module.embed_batch(rows)
    with torch.no_grad():
        module.log_scale[0], module.log_scale[1] = math.log(9.0), math.log(1000.0)
    losses = list(module.pair_losses(embedded, rows["present"]).items())
    for ((a, b), loss), scale in zip(losses[:2], (9.0, 30.0), strict=True):
        assert_close(loss, info_nce(embedded[a], embedded[b], scale))


def test_what_a_sample_lacks_has_no_influence():
    module, rows = build().eval(), batch()
    embedded = module.embed_batch(rows)
    rows["present"]["audio"][2] = False
    before = module.pair_losses(embedded, rows["present"])
    embedded["audio"] = embedded["audio"].clone()
    embedded["audio"][2] = -embedded["audio"][2]
    assert_close(module.pair_losses(embedded, rows["present"]), before, rtol=0, atol=0)


def test_a_pair_that_no_two_samples_hold_has_no_loss():
    module, rows = build().eval(), batch()
    rows["present"]["audio"][1:] = False
    losses = module.pair_losses(module.embed_batch(rows), rows["present"])
    assert set(losses) == {("text", "image"), ("text", "video"), ("image", "video")}


@pytest.mark.parametrize(("partial", "replaced"), [(0.0, 0), (1.0, 6)])
def test_partial_queries_replace_that_share_of_texts_and_sounds(partial, replaced):
    rows = batch()
    mixed = build(partial=partial)._with_others(rows)
    texts = zip(mixed["text"], rows["query_text"], strict=True)
    assert sum(text == query for text, query in texts) == replaced
    sounds = zip(mixed["audio"], rows["query_audio"], strict=True)
    assert sum(torch.equal(sound, query) for sound, query in sounds) == replaced
    assert mixed["image"] is rows["image"]


@pytest.mark.parametrize(("drawn", "replaced"), [(0.0, 0), (1.0, 5)])
def test_drawings_replace_that_share_of_the_pictures_that_have_one(drawn, replaced):
    rows = batch()
    rows["drawn_image"] = -rows["image"]
    rows["present"]["drawn_image"] = torch.arange(6) != 2
    mixed = build(drawn=drawn)._with_others(rows)["image"]
    assert (mixed == -rows["image"]).all(dim=(1, 2, 3)).sum() == replaced
    assert torch.equal(mixed[2], rows["image"][2])


def test_which_samples_give_their_query_changes_with_the_epoch_alone():
    module, rows = build(partial=0.5), batch()
    epochs = [rows | {"epoch": torch.tensor(epoch)} for epoch in range(8)]
    drawn = [tuple(module._with_others(each)["text"]) for each in epochs]
    assert drawn == [tuple(module._with_others(each)["text"]) for each in epochs]
    assert len(set(drawn)) > 1


def test_the_towers_overfit_one_batch():
    module, rows = build(), batch(4)
    optimiser, losses = torch.optim.AdamW(module.parameters(), 5e-3), []
    for _ in range(25):
        pairs = module.pair_losses(module.embed_batch(rows), rows["present"])
        loss = torch.stack(list(pairs.values())).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1.0
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"partial": 1.5}, "partial is 1.5 but must be a share from 0 to 1"),
        ({"max_scale": 0.5}, "max_scale is 0.5 but must be 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(options, line):
    with pytest.raises(ValueError, match=line):
        AlignmentModule(**options)


def test_no_two_towers_share_a_seed_so_that_augmentation_links_no_modalities(monkeypatch):
    module, seen = build().train(), {}
    for name, tower in module.towers.items():
        forward = tower.forward

        def recorded(signals, seeds=None, *, name=name, forward=forward):
            seen[name] = seeds
            return forward(signals, seeds)

        monkeypatch.setattr(tower, "forward", recorded)
    module.embed_batch(batch(), module.seeds(batch()))
    assert seen.keys() == set(MODALITIES)
    assert len(torch.cat(list(seen.values())).unique()) == len(MODALITIES) * len(batch()["text"])


def test_a_picture_and_a_clip_of_one_sample_are_turned_and_slanted_independently():
    seeds = torch.arange(20_000)
    image, video = (
        uniform(seeds_for(seeds, name), (7,), stream=8) - 0.5 for name in ("image", "video")
    )
    correlation = (image * video).mean(0) / (image.std(0) * video.std(0))
    assert correlation.abs().max() < 4 / len(seeds) ** 0.5
