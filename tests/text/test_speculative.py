"""Claims about speculative decoding."""

import itertools
from collections import Counter

import pytest
import torch
from scipy.stats import chi2

from core.noise import seeds_tensor, uniform
from text.model import TextConfig, TextModel
from text.sampling import TextOptions
from text.speculative import Speculation, accepted, corrected
from text.tokenizer import BOS, EOS
from text.writing import Alphabet, Writing

TOKENS = 6
ALPHABET = Alphabet(TOKENS)
PROMPT = [BOS, 4, 5]


def model(seed: int, width: int = 16) -> TextModel:
    torch.manual_seed(seed)
    config = TextConfig(
        width=width, depth=1, heads=2, context=12, vocabulary=TOKENS, prefix=0, layout="qwen3"
    )
    network = TextModel(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return network.eval()


def speculated(
    large, small, options, seed, ahead=3, prompt=PROMPT
) -> tuple[list[int], Speculation]:
    with torch.inference_mode():
        seeds = seeds_tensor([seed])
        writing = Speculation(large, small, prompt, options, seeds, ALPHABET, ahead)
        ids = []
        while not writing.done:
            ids += writing.step().tolist()
    return ids, writing


def plain(large, options, seed, prompt=PROMPT) -> list[int]:
    with torch.inference_mode():
        writing = Writing(large, [prompt], options, seeds_tensor([seed]), ALPHABET)
        ids = []
        while not writing.done:
            ids += writing.step().tolist()
    return ids


def likelihoods(network, options: TextOptions, length: int) -> dict[tuple[int, ...], float]:
    """Return every text of at most that many tokens with its exact probability."""
    from text.sampling import penalise, probabilities

    found = {(): 1.0}
    for _ in range(length):
        for text in [t for t in found if EOS not in t]:
            logits = network(torch.tensor([[*PROMPT, *text]]))[:, -1]
            seen = torch.zeros(1, TOKENS, dtype=torch.bool)
            seen[0, [*PROMPT, *text]] = True
            logits = penalise(logits, seen, options.repetition_penalty)[:, EOS:]
            p = probabilities(logits, options)[0].tolist()
            begun = found.pop(text)
            found |= {(*text, EOS + i): begun * share for i, share in enumerate(p)}
    return found


def test_one_corrected_draft_has_the_large_models_distribution():
    torch.manual_seed(0)
    p, q = torch.randn(2, 7).softmax(-1), torch.randn(2, 7).softmax(-1)
    count, seeds = 40_000, seeds_tensor(range(40_000))
    for row in range(2):
        drafts = torch.multinomial(q[row], count, replacement=True)
        kept = accepted(
            p[row].expand(count, 1, 7), q[row].expand(count, 1, 7), drafts[:, None],
            uniform(seeds)[:, None],
        )  # fmt: skip
        other = torch.multinomial(corrected(p[row], q[row]), count, replacement=True)
        made = torch.where(kept == 1, drafts, other)
        expected = count * p[row]
        statistic = float(((made.bincount(minlength=7) - expected).square() / expected).sum())
        assert statistic < chi2.ppf(0.999, 6)
        # A token of the draft stands as often as the two distributions overlap.
        overlap = torch.minimum(p[row], q[row]).sum()
        torch.testing.assert_close(kept.float().mean(), overlap, atol=0.01, rtol=0)


OPTIONS = [
    TextOptions(temperature=0.7, top_k=3, max_tokens=3),
    TextOptions(top_p=None, max_tokens=3),
    TextOptions(top_p=None, repetition_penalty=1.5, max_tokens=3),
]


@pytest.mark.parametrize(
    ("options", "count"),
    [(OPTIONS[0], 300), *(pytest.param(o, 4000, marks=pytest.mark.slow) for o in OPTIONS)],
    ids=str,
)
def test_texts_of_two_models_are_distributed_as_those_of_the_large_one(options, count):
    large, small = model(0), model(1, width=8)
    texts = Counter(tuple(speculated(large, small, options, seed)[0]) for seed in range(count))
    expected = likelihoods(large, options, 3)
    assert sum(expected.values()) == pytest.approx(1, abs=1e-5)
    assert all(expected[text] > 0 for text in texts)
    often = {text: p for text, p in expected.items() if count * p >= 5}
    rest = count * (1 - sum(often.values()))
    statistic = sum((texts[t] - count * p) ** 2 / (count * p) for t, p in often.items())
    if rest > 1:
        seldom = count - sum(texts[text] for text in often)
        statistic += (seldom - rest) ** 2 / rest
    assert statistic < chi2.ppf(0.999, len(often) - (rest <= 1))


@pytest.mark.parametrize("ahead", [1, 2, 5, 20])
def test_the_likeliest_text_is_the_likeliest_text(ahead):
    for seed, penalty in itertools.product(range(2), (1.0, 1.3)):
        large, small = model(seed), model(seed + 10, width=8)
        options = TextOptions(temperature=0.0, repetition_penalty=penalty)
        assert speculated(large, small, options, 0, ahead)[0] == plain(large, options, 0)


def test_drafts_of_the_same_model_all_stand():
    large = model(0)
    for seed in range(5):
        _, writing = speculated(large, large, TextOptions(top_p=None), seed)
        assert writing.stood == writing.drafted


def test_texts_end_where_room_or_tokens_do():
    large, small = model(0), model(1)
    for seed in range(8):
        ids, _ = speculated(large, small, TextOptions(top_p=None), seed)
        assert len(ids) <= 12 - len(PROMPT)
        assert EOS not in ids[:-1]
        ids, _ = speculated(large, small, TextOptions(top_p=None, max_tokens=2), seed)
        assert len(ids) <= 2


def test_writing_nothing_ahead_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        speculated(model(0), model(1), TextOptions(), 0, ahead=0)
