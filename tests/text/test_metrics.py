"""Claims about the text metrics."""

import math

import pytest

from text.metrics import bits_per_byte, distinct_n, perplexity


def test_perplexity_of_a_uniform_guess_is_the_number_of_choices():
    assert perplexity(nats=10 * math.log(512), tokens=10) == pytest.approx(512)


def test_a_uniform_guess_of_bytes_costs_eight_bits():
    assert bits_per_byte(4 * math.log(256), ["é!", "a"]) == pytest.approx(8)


def test_distinct_n_is_one_without_repetition_and_falls_with_it():
    assert distinct_n(["a b c", "d e"], 2) == 1
    assert distinct_n(["a b"] * 4, 2) == 0.25
    assert distinct_n(["a a a"], 1) == pytest.approx(1 / 3)


@pytest.mark.parametrize("n", [1, 2])
def test_texts_that_are_too_short_are_an_error(n: int):
    with pytest.raises(ValueError, match=f"runs of {n} words"):
        distinct_n([""], n)
