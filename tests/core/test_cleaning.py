from collections import Counter

from core.cleaning import distinct, keep, readable


def test_each_sample_is_kept_or_counted_under_its_first_reason():
    dropped = Counter()
    rules = {"odd": lambda n: n % 2 == 0, "large": lambda n: n < 6}
    assert list(keep(range(10), rules, dropped)) == [0, 2, 4]
    assert dropped == {"odd": 5, "large": 2}


def test_the_first_of_equal_samples_stays():
    dropped = Counter()
    assert list(distinct(["a", "b", "A", "b"], lambda s: s.encode(), dropped)) == ["a", "b", "A"]
    assert dropped == {"duplicate": 1}


def test_what_cannot_be_read_is_counted():
    dropped = Counter()
    read = list(readable(["1", "x", "2"], lambda s: {"n": bytes([int(s)])}, dropped))
    assert read == [{"n": b"\1"}, {"n": b"\2"}]
    assert dropped == {"undecodable": 1}
