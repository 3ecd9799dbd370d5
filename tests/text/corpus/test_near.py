import numpy as np
import pytest

from text.corpus.mixing import copies
from text.corpus.near import HASHES, NearDuplicates, check_near, signature


def words(start: int, stop: int) -> str:
    return " ".join(f"w{n}" for n in range(start, stop))


def similarity(one: str, other: str) -> float:
    """Shared runs of five words over all: what signatures estimate."""
    first, second = (
        {tuple(t.split()[n : n + 5]) for n in range(len(t.split()) - 4)} for t in (one, other)
    )
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("shift", [0, 5, 20, 60, 200])
def test_signatures_estimate_the_share_of_common_runs(shift):
    one, other = words(0, 204), words(shift, 204 + shift)
    estimate = (signature(one) == signature(other)).mean()
    assert estimate == pytest.approx(similarity(one, other), abs=3 * 0.5 / HASHES**0.5)


def test_a_signature_depends_on_the_text_alone():
    text = words(0, 9000)  # hashed in several batches
    assert (signature(text) == signature("\n".join(text.upper().split()))).all()
    assert len({signature(t).tobytes() for t in ("a", "b", "a b", "")}) == 4


def test_the_later_of_two_similar_documents_is_found():
    texts = [words(0, 300), words(500, 800), words(3, 303), words(150, 450), words(500, 799)]
    table = NearDuplicates(0.8, np.stack([signature(text) for text in texts]))
    assert [table.add(n) for n in range(len(texts))] == [True, True, False, True, False]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0])
def test_a_threshold_lies_between_0_and_1(threshold):
    with pytest.raises(ValueError, match=r"near is .* must lie between 0 and 1"):
        check_near(threshold)


def taken(domain, sizes, counts, parts):
    return np.bincount(domain, sizes * counts, parts)


@pytest.mark.parametrize("weights", [(0.7, 0.3), (1.0, 1.0), (5.0, 95.0)])
@pytest.mark.parametrize("max_repeats", [1, 3])
def test_domains_take_their_part_of_the_bytes_and_no_document_is_repeated_beyond_the_most(
    weights, max_repeats
):
    random = np.random.default_rng(0)
    domain = random.integers(0, 2, 4000)
    sizes, draws = random.integers(1, 900, 4000), random.random(4000)
    counts = copies(domain, sizes, draws, weights, max_repeats)
    bytes_taken = taken(domain, sizes, counts, 2)
    assert bytes_taken / bytes_taken.sum() == pytest.approx(
        np.array(weights) / sum(weights), abs=2e-3
    )
    assert counts.max() == max_repeats
    spread = [np.ptp(counts[domain == number]) for number in range(2)]
    assert max(spread) <= 1
    assert min(spread) == 0  # the scarce one is written whole


def test_who_is_taken_does_not_change_when_a_document_of_another_domain_goes():
    sizes, draws = np.full(300, 10), np.random.default_rng(1).random(300)
    domain = np.repeat([0, 1], [100, 200])
    whole = copies(domain, sizes, draws, (1.0, 1.0), 1)
    fewer = copies(domain[1:], sizes[1:], draws[1:], (1.0, 1.0), 1)
    assert whole[100:].sum() == 100
    assert fewer[99:].sum() == 99
    assert (fewer[99:] <= whole[100:]).all()
