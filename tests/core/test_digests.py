import hashlib
import tracemalloc

from core.digests import Digests


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def test_a_digest_is_new_once_at_any_size():
    digests = Digests()
    for number in range(20_000):
        assert digests.add(digest(number))
        if number % 7 == 0:
            assert not digests.add(digest(number // 2))
    assert len(digests) == 20_000
    assert not any(digests.add(digest(number)) for number in range(20_000))


def test_digests_that_begin_alike_are_told_apart():
    digests, one = Digests(), digest(0)
    others = [one[:15] + bytes([last]) for last in range(256) if last != one[15]]
    assert all(digests.add(other) for other in [one, *others])
    assert not any(digests.add(other) for other in [one, *others])


def test_its_state_is_64_bytes_a_sample_at_most_while_it_grows_too():
    given = [digest(number) for number in range(8_000)]
    tracemalloc.start()
    digests = Digests()
    most = 0.0
    for number, one in enumerate(given, start=1):
        digests.add(one)
        if number >= 1000 and number % 100 == 0:
            most = max(most, tracemalloc.get_traced_memory()[1] / number)
            tracemalloc.reset_peak()
    tracemalloc.stop()
    assert 20 < most <= 64
    assert digests.size / len(digests) <= 43
