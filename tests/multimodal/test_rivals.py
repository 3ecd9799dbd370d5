"""Systems of another design: what their generators are told, and how they are trained."""

import json

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from core.members import decode_npy, encode_npy
from core.shards import ShardReader, write_shards
from multimodal import emergent
from multimodal.baselines import rival
from multimodal.conditions import conditions, conditions_of, star_members
from multimodal.data import EmbeddedData
from multimodal.emergent import COMMON, never_paired
from multimodal.report import measured_beside, models_id
from multimodal.report_baselines import COLUMNS, baseline_row
from multimodal.rivals import GENERATED, rival_stages, rivals
from multimodal.tuples import MODALITIES

WIDTH = 6


def unit(*shape, seed=0):
    rows = torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))
    return normalize(rows, dim=-1)


def test_a_shared_latent_is_the_same_for_all_and_lies_amidst_them():
    rows = unit(4)
    told = conditions_of(rows, "shared", 0)
    assert told.shape == (len(MODALITIES), WIDTH)
    assert_close(told, normalize(rows.mean(0), dim=-1).expand(4, -1))


def test_any_source_conditioning_tells_one_of_the_sample_and_each_in_turn():
    rows = unit(4)
    drawn = torch.stack([(conditions_of(rows, "any", i) @ rows.T).argmax(1) for i in range(400)])
    assert_close(conditions_of(rows, "any", 7), rows[drawn[7]])
    shares = torch.stack([(drawn == m).float().mean(0) for m in range(4)])
    assert_close(shares, torch.full((4, 4), 0.25), atol=0.08, rtol=0)


def test_a_star_shows_the_anchor_and_one_other_and_each_other_in_turn():
    shown = [set(star_members("video", index)) for index in range(60)]
    assert {frozenset(s) for s in shown} == {
        frozenset(s) for s in (
            {"video.npy", "image.npy"},
            {"video.npy", "text.npy", "query.text.npy"},
            {"video.npy", "audio.npy", "query.audio.npy"},
        )
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["any", "shared"])
def test_conditions_have_the_keys_and_order_of_the_embeddings(tmp_path, kind):
    members = [EmbeddedData.members[m] for m in MODALITIES]
    samples = [
        {"__key__": f"{i:03d}"} | {m: encode_npy(unit(1, seed=9 * i + j)[0])
                                   for j, m in enumerate(members)}
        for i in range(5)
    ]  # fmt: skip
    for split in ("train", "val"):
        write_shards(
            tmp_path / "e" / split, samples, required=(), optional=tuple(members), source="test",
            licence="CC0", dropped={}, builder={}, fields={"embedding_dim": WIDTH, "of": "world"},
        )  # fmt: skip
    conditions(tmp_path / "e", tmp_path / "c", kind)
    made = ShardReader(tmp_path / "c" / "train")
    assert list(made.index["key"]) == [s["__key__"] for s in samples]
    assert made.manifest.fields == {"embedding_dim": WIDTH, "of": "world"}
    rows = torch.stack([decode_npy(samples[2][m]) for m in members])
    found = torch.stack([decode_npy(made.read(2)[m]) for m in members])
    assert_close(found, conditions_of(rows, kind, 2))


def test_rivals_train_by_the_quick_starts_commands_on_other_conditions(tmp_path):
    plan = {stage.name: stage for stage in rival_stages(tmp_path, "any", "cpu", smoke=True)}
    assert plan.keys() == {"embeddings", *GENERATED}
    told = str(tmp_path / "rivals" / "any" / "embeddings")
    for modality in GENERATED:
        arguments = plan[modality].arguments
        assert arguments[arguments.index("--data.embeddings") + 1] == told
    clip = plan["video"].arguments
    image = str(tmp_path / "rivals" / "any" / "image" / "last.ckpt")
    assert clip[clip.index("--model.image_checkpoint") + 1] == image
    assert plan["video"].needs == ("embeddings", "image")


def test_the_prior_all_at_once_differs_by_its_plan_alone(tmp_path):
    (stage,) = rival_stages(tmp_path, "at_once", "cpu", smoke=False)
    assert stage.arguments[-2:] == ("--model.tokens.plan", "null")


def test_rivals_of_no_run_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has no embeddings; train the whole first"):
        rivals(tmp_path)


def test_a_rival_that_was_not_trained_is_left_out_and_said_so(tmp_path):
    with pytest.warns(UserWarning, match="one shared latent is left out: .* --only shared"):
        assert rival(tmp_path, "shared", MODALITIES) == {}


def system(ratio):
    opened = {"text motion": {"distance": 0.3, "floor": 0.1}}
    rest = {"text": {"ratio": ratio, "open": {}}, "image": {"ratio": ratio, "open": opened}}
    return {
        "summary": {"ratio_mean": ratio, "ratio_min": ratio, "size_ratio_mean": 0.9},
        "one_to_rest": rest,
        "joint": {"unconditional": 0.8},
        "recall": {"text": 0.9, "image": 0.6},
    }


def test_a_row_of_baselines_shows_every_headline_and_no_number_that_was_not_measured():
    row = dict(zip(COLUMNS, baseline_row(system(0.5)), strict=True))
    assert row["mean ratio"] == "0.500"
    assert row["open factors"] == "0.200"
    assert row["recall, least"] == "0.600"
    assert row["unseen"] not in ("0.000", "nan")


def test_baselines_of_other_models_are_not_shown(tmp_path):
    (tmp_path / "prior").mkdir()
    (tmp_path / "prior" / "last.ckpt").write_bytes(b"one")
    known = {"models": models_id(tmp_path), "systems": {"copy": system(0.5)}}
    (tmp_path / "baselines.json").write_text(json.dumps(known))
    assert measured_beside(tmp_path) == {"baselines": known}
    (tmp_path / "prior" / "last.ckpt").write_bytes(b"two")
    assert measured_beside(tmp_path) == {}


def test_every_direction_that_no_sample_of_a_star_shows_is_scored():
    assert set(never_paired("text")) == {
        "image->audio", "audio->image", "image->video", "video->image", "audio->video",
        "video->audio",
    }  # fmt: skip
    assert COMMON == ("digit", "colour")


def test_a_star_trains_on_its_own_embeddings_and_generators_go_on_from_the_run(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(emergent, "read_checkpoint", lambda path, kind: {"global_step": 100})
    plan = {stage.name: stage for stage in emergent.star_stages(tmp_path, "video", "cpu", False)}
    own = tmp_path / "emergent" / "video"
    assert plan["alignment"].arguments[-2:] == ("--model.anchor", "video")
    prior = plan["prior"].arguments
    assert prior[-4:] == ("--data.root", str(own / "shown"), "--model.tokens.plan", "video")
    for modality in MODALITIES:
        arguments = plan[modality].arguments
        assert str(own / "embeddings") in arguments
        assert str(tmp_path / "embeddings") not in arguments
        start = str(tmp_path / modality / "last.ckpt")
        assert arguments[-4:] == ("--init", start, "--trainer.max_steps", "30")
