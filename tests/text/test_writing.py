"""Claims about writing after prompts."""

import pytest
import torch

from core.noise import seeds_tensor, uniform, uniform_streams
from text.model import TextConfig, TextModel
from text.sampling import TextOptions, penalise, pick
from text.tokenizer import BOS, EOS
from text.writing import Alphabet, Writing

PROMPTS = [[BOS, 7, 8, 9], [BOS], [BOS, 30, 31, 32, 33, 34, 35], [BOS, 5, 6]]
ALPHABET = Alphabet(50)


def model(layout: str = "qwen3", prefix: int = 0) -> TextModel:
    torch.manual_seed(0)
    config = TextConfig(
        width=32, depth=2, heads=4, kv_heads=2, context=24, vocabulary=50, prefix=prefix,
        layout=layout,
    )  # fmt: skip
    network = TextModel(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return network.eval()


def written(network, prompts, options=TextOptions(), seeds=None, alphabet=ALPHABET):
    """Return each text's new tokens, up to its end."""
    seeds = seeds_tensor(range(len(prompts)) if seeds is None else seeds)
    with torch.inference_mode():
        writing = Writing(network, prompts, options, seeds, alphabet)
        rows = [[] for _ in prompts]
        while not writing.done:
            going = (~writing.ended).tolist()
            for row, token, on in zip(rows, writing.step().tolist(), going, strict=True):
                row += [token] if on else []
    return rows


@pytest.mark.parametrize("layout", ["unison", "gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("prefix", [0, 3])
def test_logits_after_prompts_of_different_lengths_are_those_of_each_alone(layout, prefix):
    network, seeds = model(layout, prefix), seeds_tensor(range(4))
    together = Writing(network, PROMPTS, TextOptions(), seeds, ALPHABET)
    for row, prompt in enumerate(PROMPTS):
        alone = network(torch.tensor([prompt]))[0, -1]
        torch.testing.assert_close(together._first[row], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layout", ["unison", "gpt2", "llama", "qwen3"])
def test_a_text_does_not_depend_on_the_prompts_beside_it(layout):
    network = model(layout)
    together = written(network, PROMPTS)
    alone = [written(network, [p], seeds=[i])[0] for i, p in enumerate(PROMPTS)]
    assert together == alone
    assert written(network, PROMPTS[::-1], seeds=[3, 2, 1, 0]) == together[::-1]


def test_writing_equals_recomputation_without_a_cache():
    network, options = model(), TextOptions(repetition_penalty=1.4)
    for seed, (prompt, found) in enumerate(
        zip(PROMPTS, written(network, PROMPTS, options), strict=True)
    ):
        ids = list(prompt)
        for n in range(len(found)):
            logits = network(torch.tensor([ids]))[:, -1]
            seen = torch.zeros(1, 50, dtype=torch.bool)
            seen[0, ids] = True
            draw = uniform(seeds_tensor([seed]), stream=n)
            ids.append(EOS + int(pick(penalise(logits, seen, 1.4)[:, EOS:], draw, options)))
        assert ids[len(prompt) :] == found


def test_a_text_ends_where_its_own_context_is_full():
    endless = Alphabet(50, ends=(49,), silent=(0, 1, 2))
    network = model()
    torch.nn.init.zeros_(network.embed.weight[49:])
    found = written(network, PROMPTS, TextOptions(top_k=1), alphabet=endless)
    assert [len(p) + len(f) for p, f in zip(PROMPTS, found, strict=True)] == [24] * 4


def test_a_prompt_as_long_as_the_context_is_an_error():
    with pytest.raises(ValueError, match=r"24 tokens but the model's context is 24.*shorten"):
        written(model(), [[BOS] + [5] * 23])


def test_a_penalty_keeps_a_text_from_repeating_itself():
    network = model()
    torch.nn.init.zeros_(network.blocks[0].attention.out.weight)
    plain = written(network, [[BOS, 5]], TextOptions(temperature=0.0, max_tokens=20))[0]
    varied = written(
        network, [[BOS, 5]], TextOptions(temperature=0.0, max_tokens=20, repetition_penalty=1e6)
    )[0]
    assert len(set(varied)) > len(set(plain))


def test_silent_tokens_anywhere_are_never_written():
    alphabet = Alphabet(50, ends=(4, 11), silent=(0, 1, 20, 21))
    found = written(
        model(), PROMPTS * 4, TextOptions(temperature=5.0, top_p=None), alphabet=alphabet
    )
    tokens = {token for row in found for token in row}
    assert not tokens & {0, 1, 20, 21}
    assert all(not {4, 11} & set(row[:-1]) for row in found)


def test_many_streams_at_once_are_the_streams_one_by_one():
    seeds = seeds_tensor(range(10))
    for n, row in enumerate(uniform_streams(seeds, 60, 70)):
        assert torch.equal(row, uniform(seeds, stream=60 + n))
