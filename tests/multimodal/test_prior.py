import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from core.denoiser import DenoiserConfig
from core.noise import mix
from core.sampling import FlowOptions
from multimodal.prior import PriorModule, PriorTraining, draw_cast, stack_slots
from multimodal.towers import MODALITIES, QUERIES, SLOTS, TokensConfig

E = 8
SOURCES = TokensConfig().sources
FAST = FlowOptions(steps=4, guidance=1.0)
SEEDS = [0, 1, 2]


def build(seed=0, **options):
    """Return a prior with random weights also where zeros are the start, and fitted statistics."""
    torch.manual_seed(seed)
    module = PriorModule(net=DenoiserConfig(width=32, depth=2, heads=2), embedding=E, **options)
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    module.mean.copy_(0.1 * torch.randn(len(SLOTS), E))
    module.std.copy_(0.2 + 0.3 * torch.rand(len(SLOTS), E))
    return module.eval()


def unit(*shape, seed=1):
    rows = torch.randn(*shape, E, generator=torch.Generator().manual_seed(seed))
    return F.normalize(rows, dim=-1)


@pytest.mark.parametrize("modality", sorted(set(MODALITIES) - set(QUERIES)))
def test_an_observed_image_or_clip_keeps_its_embedding(modality):
    seen = unit(3)
    made = build().generate({modality: seen}, FAST, seeds=SEEDS)
    assert_close(made[modality], seen, atol=1e-5, rtol=0)


@pytest.mark.parametrize("modality", sorted(QUERIES))
def test_an_observed_text_or_sound_is_sampled_anew_as_it_may_be_partial(modality):
    seen = unit(3)
    made = build().generate({modality: seen}, FAST, seeds=SEEDS)
    assert (made[modality] - seen).norm(dim=1).min() > 1e-2


@pytest.mark.parametrize("observed", [(), ("text",), ("image", "audio"), MODALITIES])
def test_any_set_of_inputs_gives_unit_embeddings_of_all_modalities(observed):
    made = build().generate({m: unit(3) for m in observed}, FAST, seeds=SEEDS)
    assert made.keys() == set(MODALITIES)
    for rows in made.values():
        assert rows.shape == (3, E)
        assert_close(rows.norm(dim=1), torch.ones(3))


def test_what_is_observed_changes_what_is_generated():
    module = build()
    a, b = (module.generate({"image": unit(3, seed=s)}, FAST, seeds=SEEDS)["text"] for s in (1, 2))
    assert (a - b).norm(dim=1).min() > 1e-3


def test_a_sample_depends_on_its_own_seed_alone():
    module = build()
    together = module.generate({}, FAST, seeds=[3, 4])
    alone = module.generate({}, FAST, seeds=[4])
    for modality in MODALITIES:
        assert_close(together[modality][1:], alone[modality])
        assert (together[modality][0] - together[modality][1]).norm() > 1e-2


def test_the_text_is_sampled_first_and_the_others_given_it():
    module = build()
    asked = []
    sample = module._sample
    module._sample = lambda observed, *rest: asked.append(set(observed)) or sample(observed, *rest)
    module.generate({"image": unit(3)}, FAST, seeds=SEEDS)
    assert asked == [{"image"}, {"image", "text"}]


def test_statistics_leave_out_what_samples_lack():
    module, rows = build(), unit(6, len(SLOTS))
    present = torch.ones(6, len(SLOTS), dtype=torch.bool)
    present[3:, SLOTS.index("image")] = False
    module.fit_statistics(torch.where(present[..., None], rows, 0.0), present)
    assert_close(module.mean[SLOTS.index("image")], rows[:3, SLOTS.index("image")].mean(dim=0))
    assert module.known.all()


@pytest.mark.parametrize("missing", ["audio", "text"])
def test_a_modality_that_no_sample_had_is_not_sampled(missing):
    module = build()
    gone = [SLOTS.index(slot) for slot in (missing, QUERIES[missing])]
    present = torch.ones(6, len(SLOTS), dtype=torch.bool)
    present[:, gone] = False
    module.fit_statistics(torch.where(present[..., None], unit(6, len(SLOTS)), 0.0), present)
    made = module.generate({"image": unit(3)}, FAST, seeds=SEEDS)
    assert made.keys() == set(MODALITIES) - {missing}
    assert all(row.isfinite().all() for row in made.values())


def test_a_modality_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="smell is no modality; choose from text, image"):
        build().generate({"smell": unit(1)}, FAST, seeds=[0])


def test_tokens_that_are_not_seen_have_no_influence():
    module, x, time = build(), torch.randn(2, len(SLOTS), E), torch.rand(2, len(SLOTS))
    seen = torch.tensor([slot not in ("audio", "query_text") for slot in SLOTS]).expand(2, -1)
    changed = torch.where(seen[..., None], x, 100 * torch.randn_like(x))
    other_time = torch.where(seen, time, torch.rand_like(time))
    before = module._predict(x, time, seen)
    assert_close(module._predict(changed, other_time, seen), before, rtol=0, atol=0)
    assert not torch.equal(module._predict(x + 1, time, seen), before)


def test_what_a_sample_lacks_has_no_influence_on_the_loss():
    module, rows, seeds = build(), unit(64, len(SLOTS)), mix(0, torch.arange(64))
    present = torch.ones(64, len(SLOTS), dtype=torch.bool)
    present[:, SLOTS.index("video")] = False
    changed = rows.clone()
    changed[:, SLOTS.index("video")] = unit(64, seed=9)
    before = module.loss(rows, present, seeds)
    assert_close(module.loss(changed, present, seeds), before, rtol=0, atol=0)
    everything = torch.ones_like(present)
    assert module.loss(changed, everything, seeds) != module.loss(rows, everything, seeds)


def test_casts_observe_sources_generate_targets_and_never_both_for_one_token():
    observed, generated = draw_cast(mix(0, torch.arange(4000)), PriorTraining())
    assert not (observed & generated).any()
    for i, slot in enumerate(SLOTS):
        assert observed[:, i].any() == (slot in SOURCES.values())
        assert generated[:, i].any() == (slot in MODALITIES)


def test_casts_follow_their_shares():
    cast = PriorTraining(observed=0.4, absent=0.25, nothing=0.2)
    observed, generated = draw_cast(mix(0, torch.arange(20000)), cast)
    image, text = SLOTS.index("image"), SLOTS.index("text")
    assert float(observed[:, image].float().mean()) == pytest.approx(0.4 * 0.8, abs=0.02)
    assert float(generated[:, text].float().mean()) == pytest.approx(0.75, abs=0.02)
    nothing = ~observed.any(dim=1)
    assert float(nothing.float().mean()) == pytest.approx(0.2 + 0.8 * 0.6**4, abs=0.02)


def batch(epoch, size=6):
    rows = {slot: unit(size, seed=i) for i, slot in enumerate(SLOTS)}
    present = {slot: torch.ones(size, dtype=torch.bool) for slot in SLOTS}
    facts = {"index": torch.arange(size), "epoch": torch.tensor(epoch), "present": present}
    return rows | facts


def test_a_querys_token_holds_the_partial_one_in_every_other_epoch():
    for modality, slot in QUERIES.items():
        rows = [stack_slots(batch(epoch))[0][:, SLOTS.index(slot)] for epoch in (0, 1)]
        partial = [(row == batch(0)[slot]).all(dim=1) for row in rows]
        full = [(row == batch(0)[modality]).all(dim=1) for row in rows]
        assert torch.equal(partial[0], ~partial[1])
        assert torch.equal(partial[0], full[1])
        assert torch.equal(partial[1], full[0])


def test_without_a_partial_query_its_token_holds_what_is_said_in_full():
    rows = batch(0)
    rows["present"]["query_text"][:] = False
    stacked, present = stack_slots(rows)
    assert torch.equal(stacked[:, SLOTS.index("query_text")], rows["text"])
    assert present[:, SLOTS.index("query_text")].all()


def test_the_prior_overfits_one_batch():
    module = build(training=PriorTraining(observed_noise=0.0)).train()
    rows, present = unit(4, len(SLOTS)), torch.ones(32, len(SLOTS), dtype=torch.bool)
    for modality, slot in QUERIES.items():  # all is said in full
        rows[:, SLOTS.index(slot)] = rows[:, SLOTS.index(modality)]
    module.mean.copy_(rows.mean(dim=0))
    module.std.copy_(rows.std(dim=0).clamp_min(1e-3))
    optimiser, losses = torch.optim.AdamW(module.parameters(), 5e-3), []
    for step in range(300):
        loss = module.loss(rows.repeat(8, 1, 1), present, mix(step, torch.arange(32)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-20:]) < 0.4 * sum(losses[:20])
    found = module.eval().generate({"image": rows[:, SLOTS.index("image")]}, seeds=range(4))
    for modality in MODALITIES:
        cosine = found[modality] @ rows[:, SLOTS.index(modality)].T
        assert torch.equal(cosine.argmax(dim=1), torch.arange(4)), modality
