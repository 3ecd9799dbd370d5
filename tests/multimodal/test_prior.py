from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from core.denoiser import DenoiserConfig
from core.noise import mix
from core.sampling import FlowOptions
from multimodal.casts import PriorTraining, draw_cast, mix_tuples, stack_slots
from multimodal.prior import PriorModule
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


def test_tokens_that_are_independent_of_the_plan_do_not_hear_of_it():
    module = build()
    a, b = (module.generate({"text": unit(3, seed=s)}, FAST, seeds=SEEDS) for s in (1, 2))
    assert (a["text"] - b["text"]).norm(dim=1).min() > 1e-3
    assert_close(a["image"], b["image"])


def test_the_others_follow_the_plan_where_they_are_correlated_with_it():
    module = build()
    text, image = (slice(SLOTS.index(m) * E, SLOTS.index(m) * E + E) for m in ("text", "image"))
    module.covariance[text, image] = module.covariance[image, text] = torch.eye(E)
    made = module.generate({"audio": unit(3)}, FAST, seeds=SEEDS)
    planned, followed = (
        module._standardise(made[m][:, None].expand(-1, len(SLOTS), -1))[:, SLOTS.index(m)]
        for m in ("text", "image")
    )
    assert F.cosine_similarity(planned, followed).min() > 0.7  # each was scaled to unit length


def test_evidence_moves_the_plan_and_its_weight_can_be_nothing():
    module = build()
    text, image = (slice(SLOTS.index(m) * E, SLOTS.index(m) * E + E) for m in ("text", "image"))
    module.covariance[text, image] = module.covariance[image, text] = 0.9 * torch.eye(E)
    seen = {"image": unit(3)}
    without, with_it = (
        module.generate(seen, FAST, seeds=SEEDS, evidence=w)["text"] for w in (0.0, 1.0)
    )
    assert (without - with_it).norm(dim=1).min() > 1e-2


def test_with_a_plan_the_others_cost_nothing():
    module, present = build(), torch.ones(64, len(SLOTS), dtype=torch.bool)
    rows, seeds = unit(64, len(SLOTS)), mix(0, torch.arange(64))
    module.loss(rows, present, seeds).backward()
    output = module.net.write.out.weight.grad
    present[:, SLOTS.index("text")] = False
    assert output is not None
    assert output.any()
    assert module.loss(rows, present, seeds).item() == 0


def test_the_others_may_follow_the_plan_by_the_flow():
    """No covariance links them here: what they hear of the plan is what the network tells them."""
    module = build(tokens=TokensConfig(rest="flow"))
    a, b = (module.generate({"image": unit(3, seed=s)}, FAST, seeds=SEEDS) for s in (1, 2))
    assert (a["video"] - b["video"]).norm(dim=1).min() > 1e-3
    again = module.generate({"image": unit(3, seed=1)}, FAST, seeds=SEEDS, spread=0.0)
    assert torch.equal(a["video"], again["video"])  # nothing is drawn from the Gaussian


def test_with_the_flow_for_the_rest_every_token_is_learnt():
    module, present = build(tokens=TokensConfig(rest="flow")), torch.ones(64, len(SLOTS)).bool()
    present[:, SLOTS.index("text")] = False
    assert module.loss(unit(64, len(SLOTS)), present, mix(0, torch.arange(64))).item() > 0


@pytest.mark.parametrize("observed", [(), ("text",), ("image", "audio")])
def test_without_a_plan_all_are_sampled_at_once(observed):
    module = build(tokens=TokensConfig(plan=None))
    assert module.plan is None
    made = module.generate({m: unit(3) for m in observed}, FAST, seeds=SEEDS)
    assert made.keys() == set(MODALITIES)
    for rows in made.values():
        assert_close(rows.norm(dim=1), torch.ones(3))


def additive(digits, colours, motions):
    """Return embeddings that add up their factors, the same in every token."""
    basis = torch.eye(30)
    rows = basis[digits] + basis[10 + colours] + basis[20 + motions]
    return F.normalize(rows, dim=-1)[:, None].expand(-1, len(SLOTS), -1).contiguous()


def factors_of(rows):
    return torch.stack([part.argmax(dim=-1) for part in rows.split(10, dim=-1)], dim=-1)


def test_mixed_tuples_are_right_and_some_of_combinations_that_were_not_there():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 5, (128, 3), generator=generator)
    drawn = drawn[(drawn[:, 0] != drawn[:, 1])]  # never equal: what is held out
    rows = additive(*drawn.T)
    present = torch.ones(rows.shape[:2], dtype=torch.bool)
    mixed, there, of = mix_tuples(rows, present, 0, share=0.5)
    assert 10 < len(mixed) <= 0.5 * len(rows)
    assert there.all()
    found = factors_of(mixed[:, 0])
    assert_close(mixed, additive(*found.T))  # exactly the embedding of what it is said to show
    assert (found[:, 0] == found[:, 1]).any()
    assert len(of) == len(mixed)


def test_tuples_are_mixed_from_those_that_have_the_plan():
    drawn = torch.randint(0, 5, (128, 3), generator=torch.Generator().manual_seed(0))
    rows, present = additive(*drawn.T), torch.ones(128, len(SLOTS), dtype=torch.bool)
    present[::3, 0] = False
    present[:, SLOTS.index("video")] = False
    mixed, there, of = mix_tuples(rows, present, 0, share=1.0)
    assert len(mixed)
    assert present[of, 0].all()
    assert not there[:, SLOTS.index("video")].any()


def test_a_batch_of_one_mixes_nothing():
    rows, present = unit(1, len(SLOTS)), torch.ones(1, len(SLOTS), dtype=torch.bool)
    assert len(mix_tuples(rows, present, 0, share=1.0)[0]) == 0


def test_shares_beyond_one_are_refused():
    with pytest.raises(ValueError, match=r"mixed is 1\.5 but must be a share, 0 to 1"):
        PriorTraining(mixed=1.5)


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


def test_where_nothing_is_left_to_sample_all_is_as_observed():
    tokens = TokensConfig(modalities=("m0", "m1"), queries={}, plan="m0")
    seen = {m: unit(3, seed=i) for i, m in enumerate(tokens.modalities)}
    made = build_of(tokens).generate(seen, FAST, seeds=SEEDS)
    for name, rows in seen.items():
        assert_close(made[name], rows, atol=1e-5, rtol=0)


def build_of(tokens):
    net = DenoiserConfig(width=32, depth=1, heads=2)
    return PriorModule(net=net, embedding=E, tokens=tokens).eval()


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
    module.fit_statistics(rows, present[:4])
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


def test_what_a_query_leaves_unsaid_is_no_evidence_once_it_is_decided():
    module = build()
    torch.manual_seed(0)
    root = torch.randn(len(SLOTS) * E, len(SLOTS) * E)
    module.covariance.copy_(root @ root.T / len(root))

    def plan(source, unsaid):
        with mock.patch("multimodal.prior.UNSAID", unsaid):
            return module.generate({source: unit(3)}, FAST, seeds=SEEDS)["text"]

    for source in QUERIES:
        assert not torch.allclose(plan(source, 0.0), plan(source, 2.0), atol=1e-3)
        assert not torch.allclose(plan(source, 0.5), plan(source, 0.0), atol=1e-4)
    for source in set(MODALITIES) - set(QUERIES):  # they always say all they know
        assert torch.equal(plan(source, 0.0), plan(source, 2.0))
