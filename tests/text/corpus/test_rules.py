import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text.corpus.repetition import Runs, repeated_lines
from text.corpus.rules import MOJIBAKE, Reading, Rules, damage, letters, quality, symbols

WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "dd"]), max_size=40)


def failed(text: str, rules: Rules = Rules()) -> str | None:
    read = Reading(text)
    every = damage(rules) | quality(rules)
    return next((reason for reason, passes in every.items() if not passes(read)), None)


def numbered(count: int, form: str = "Thing {} is unlike all others") -> list[str]:
    return [form.format(chr(97 + n) * (n % 7 + 3)) for n in range(count)]


def occurrences(words: list[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[n : n + length]) for n in range(len(words) - length + 1)]


@given(WORDS)
def test_runs_that_repeat_are_those_that_counting_finds(words):
    found = list(Runs(words).repeated((2, 3, 5)))
    for length, share in zip((2, 3, 5), found, strict=True):
        runs = occurrences(words, length)
        covered = {
            n + k for n, run in enumerate(runs) if runs.count(run) > 1 for k in range(length)
        }
        every = sum(map(len, words))
        assert share == pytest.approx(sum(len(words[n]) for n in covered) / max(every, 1))


@given(WORDS)
def test_the_most_frequent_run_is_the_one_that_counting_finds(words):
    for length, share in zip((2, 3, 4), Runs(words).top((2, 3, 4)), strict=True):
        runs = occurrences(words, length)
        most = max(map(runs.count, runs), default=1)
        sizes = [len("".join(run)) * most for run in runs if most > 1 and runs.count(run) == most]
        assert share == pytest.approx(max(sizes, default=0) / max(sum(map(len, words)), 1))


def test_repeated_lines_are_all_but_the_first():
    assert repeated_lines(["aa", "b", "aa", "aa"]) == (0.5, pytest.approx(4 / 7))
    assert repeated_lines([]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("good text", None),
        ("a\x00b", "control characters"),
        ("tab\tand form\x0cfeed", None),
        ("lost \ufffd\ufffd here", "replacement characters"),
        ("FranÃ§ois dÃ©jeune Ã\xa0 midi", "mojibake"),
        ("François déjeune à midi — “oui”", None),
        ("\n".join([*numbered(20), "# # # # # # # # # # # # # # # # # # # # #"]), "symbols"),
        (" ... ".join(numbered(20)), "symbols"),
        (" ".join(map(str, range(1000, 1060))), "few letters"),
        ("\n".join(f"- {line}" for line in numbered(26)), "bullets"),
        ("\n".join(f"{line} again and again once more…" for line in numbered(9)), "ellipses"),
        ("\n".join([*numbered(10), *["buy now"] * 9]), "repeated lines"),
        (" ".join(["the cat sat on the mat and"] * 12), "repeated words"),
        (" ".join(numbered(10, "{} by itself")), None),
        ("- short\n- list", None),
        ("你好世界" * 30, None),
    ],
)
def test_a_text_fails_the_rule_that_it_is_made_to_fail(text, reason):
    assert failed(text) == reason


def test_short_texts_are_judged_by_damage_alone():
    chant = "row row row your boat " * 9
    assert failed(chant) is None
    assert failed(chant, Rules(judged=10)) == "repeated words"


def test_a_share_of_one_switches_a_rule_off():
    chant = "the cat sat on the mat and " * 12
    assert failed(chant, Rules(top=(1.0, 1.0, 1.0), repeated=(1.0,) * 6)) is None


def test_mojibake_is_what_ftfy_repairs():
    ftfy = pytest.importorskip("ftfy")
    for text in ("naïve café", "„Grüße“ — ça va", "Привет, мир", "日本語 テキスト", "plain"):
        broken = text.encode().decode("cp1252", "ignore")
        sound = text.encode().decode("cp1252", "ignore") == text
        assert (MOJIBAKE.search(text) is None) is True
        assert (MOJIBAKE.search(broken) is None) is sound
        assert (ftfy.fix_encoding(broken) == broken) is sound


def test_letters_are_those_of_any_script():
    assert letters(["слово", "字", "c3", "42", "--", "_"]) == 0.5
    assert symbols(Reading("# one two three … …")) == 2 / 6


@pytest.mark.parametrize(
    ("name", "value"), [("letters", 1.2), ("lines", -0.1), ("top", (0.0, 0.0, 2.0))]
)
def test_a_share_beyond_its_bounds_is_an_error(name, value):
    with pytest.raises(ValueError, match=rf"rules\.{name} is .* but must lie in 0 to 1"):
        Rules(**{name: value})


def test_hashes_of_runs_do_not_overflow_loudly():
    with np.errstate(all="raise"):
        assert next(Runs(["x", "y"] * 50).top((2,))) > 0.9
