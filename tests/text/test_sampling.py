"""Claims about writing."""

import pytest
import torch
import torch.nn.functional as F

from core.noise import seeds_tensor, uniform
from text.model import TextConfig, TextModel
from text.sampling import TextOptions, penalise, pick, probabilities
from text.tokenizer import BOS, EOS
from text.writing import Alphabet, write

SMALL = TextConfig(width=32, depth=2, heads=2, context=16, vocabulary=50, prefix=3)
FIFTY = Alphabet(50)


def model() -> TextModel:
    torch.manual_seed(0)
    network = TextModel(SMALL, 8)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def conditions(count: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 8), dim=-1)


def write_by_recomputation(network, cond, options, seeds, tokens):
    ids = torch.full((len(seeds), 1), BOS)
    for n in range(SMALL.context - 1):
        plain = network(ids)[:, -1]
        logits = plain + options.guidance * (network(ids, cond)[:, -1] - plain)
        choice = EOS + pick(logits[:, EOS:tokens], uniform(seeds, stream=n), options)
        ended = (ids == EOS).any(1)
        ids = torch.cat([ids, torch.where(ended, EOS, choice)[:, None]], dim=1)
    return ids[:, 1:]


def test_cached_writing_equals_recomputation():
    network, cond, seeds = model(), conditions(6), seeds_tensor(range(6))
    ours = write(network, cond, TextOptions(), seeds, FIFTY)
    theirs = write_by_recomputation(network, cond, TextOptions(), seeds, 50)
    assert torch.equal(ours, theirs[:, : ours.shape[1]])


def test_a_text_does_not_depend_on_its_neighbours():
    network, cond, seeds = model(), conditions(8), seeds_tensor(range(8))
    together = write(network, cond, TextOptions(), seeds, FIFTY)
    for i in range(8):
        alone = write(network, cond[i : i + 1], TextOptions(), seeds[i : i + 1], FIFTY)
        assert torch.equal(alone[0], together[i, : alone.shape[1]])


def test_only_known_tokens_are_written_and_nothing_follows_the_end():
    ids = write(model(), None, TextOptions(temperature=5.0), seeds_tensor(range(64)), Alphabet(9))
    assert ids.min() >= EOS
    assert ids.max() < 9
    ended = (ids == EOS).cummax(dim=1).values
    assert (ids[ended] == EOS).all()


def test_guidance_one_is_the_conditional_model():
    network, cond, seeds = model(), conditions(4), seeds_tensor(range(4))
    caches = network.begin(network.prefix(cond, 4), 15)
    logits = network.step(torch.full((4,), BOS), caches)
    options = TextOptions(guidance=1.0)
    expected = EOS + pick(logits[:, EOS:50], uniform(seeds, stream=0), options)
    assert torch.equal(write(network, cond, options, seeds, FIFTY)[:, 0], expected)


def test_draws_follow_the_probabilities():
    logits = torch.tensor([0.5, 0.2, 0.3]).log().expand(20_000, 3)
    draws = uniform(seeds_tensor(range(20_000)))
    share = F.one_hot(pick(logits, draws, TextOptions()), 3).float().mean(0)
    torch.testing.assert_close(share, torch.tensor([0.5, 0.2, 0.3]), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        (TextOptions(temperature=0.0), {0}),
        (TextOptions(top_k=1), {0}),
        (TextOptions(top_k=2), {0, 2}),
        (TextOptions(top_p=0.5), {0}),
        (TextOptions(top_p=0.51), {0, 2}),
        (TextOptions(top_p=1.0), {0, 1, 2}),
        (TextOptions(top_p=None), {0, 1, 2}),
        (TextOptions(top_p=None, min_p=0.5), {0, 2}),
        (TextOptions(top_p=None, min_p=0.7), {0}),
        (TextOptions(top_k=2, top_p=0.6), {0}),
    ],
)
def test_the_options_bound_what_can_be_drawn(options: TextOptions, possible: set[int]):
    draws = torch.linspace(0, 1, 101)
    logits = torch.tensor([0.5, 0.2, 0.3]).log().expand(101, 3)
    assert set(pick(logits, draws, options).tolist()) == possible


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"top_k": 0},
        {"top_p": 1.5},
        {"min_p": 0.0},
        {"repetition_penalty": 0.0},
        {"guidance": -1.0},
        {"max_tokens": 0},
    ],
)
def test_nonsense_options_are_errors(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TextOptions(**wrong)


def test_max_tokens_bounds_the_length():
    ids = write(model(), None, TextOptions(max_tokens=4), seeds_tensor(range(32)), FIFTY)
    assert ids.shape[1] == 4


def theirs(logits: torch.Tensor, seen: list[list[int]], options: TextOptions) -> torch.Tensor:
    """Return the distribution that `transformers` samples from under the same options."""
    from transformers import LogitsProcessorList
    from transformers.generation import logits_process as process

    chain = [process.RepetitionPenaltyLogitsProcessor(options.repetition_penalty)]
    chain.append(process.TemperatureLogitsWarper(options.temperature))
    if options.top_k is not None:
        chain.append(process.TopKLogitsWarper(options.top_k))
    if options.top_p is not None:
        chain.append(process.TopPLogitsWarper(options.top_p))
    if options.min_p is not None:
        chain.append(process.MinPLogitsWarper(options.min_p))
    return LogitsProcessorList(chain)(torch.tensor(seen), logits.clone()).softmax(-1)


@pytest.mark.parametrize("vocabulary", [50, 5000])
@pytest.mark.parametrize(
    "options",
    [
        TextOptions(top_p=None),
        TextOptions(temperature=0.7, top_p=None),
        TextOptions(top_k=5, top_p=None),
        TextOptions(top_p=0.8),
        TextOptions(temperature=1.3, top_k=7, top_p=0.6),
        TextOptions(top_p=None, min_p=0.1),
        TextOptions(temperature=0.8, top_k=20, top_p=0.9, min_p=0.05, repetition_penalty=1.3),
        TextOptions(top_p=None, repetition_penalty=0.7),
    ],
    ids=str,
)
def test_the_distribution_is_that_of_transformers(options, vocabulary):
    torch.manual_seed(0)
    logits = 3 * torch.randn(6, vocabulary)
    seen = [[row, row + 7, row + 20] for row in range(6)]
    mask = torch.zeros(6, vocabulary, dtype=torch.bool)
    mask.scatter_(1, torch.tensor(seen), True)
    penalised = penalise(logits, mask, options.repetition_penalty)
    ours = probabilities(penalised, options)
    torch.testing.assert_close(ours, theirs(logits, seen, options), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [TextOptions(), TextOptions(top_p=None), TextOptions(top_k=3), TextOptions(min_p=0.2)],
    ids=str,
)
def test_what_is_picked_follows_the_probabilities(options):
    logits = torch.tensor([0.4, -1.0, 0.9, 0.1, -3.0]).expand(20_000, 5)
    draws = uniform(seeds_tensor(range(20_000)))
    share = F.one_hot(pick(logits, draws, options), 5).float().mean(0)
    torch.testing.assert_close(share, probabilities(logits[:1], options)[0], atol=0.02, rtol=0)


def test_a_large_vocabulary_is_picked_from_as_if_it_were_sorted_whole(monkeypatch):
    from text import sampling

    torch.manual_seed(0)
    flat, steep = torch.randn(4, 5000), 6 * torch.randn(4, 5000)
    draws = torch.tensor([0.01, 0.4, 0.8, 0.999])
    quick = [pick(logits, draws, TextOptions(top_p=0.9)) for logits in (flat, steep)]
    monkeypatch.setattr(sampling, "FEW", 5000)
    whole = [pick(logits, draws, TextOptions(top_p=0.9)) for logits in (flat, steep)]
    assert [q.tolist() for q in quick] == [w.tolist() for w in whole]


def test_the_coldest_choice_is_the_likeliest_token_however_close_the_next():
    logits = torch.tensor([[1.0, 1.0 + 1e-6]])
    for draw in (0.01, 0.99):
        assert pick(logits, torch.tensor([draw]), TextOptions(temperature=0.0)).item() == 1
