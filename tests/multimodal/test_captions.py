import numpy as np
import pytest

from multimodal.captions import LANGUAGES, SUBSETS, caption, parse_caption, query, utterance
from multimodal.factors import COLOURS, FACTORS, MOTIONS, SIZES, Factors, size_word


def draw_factors(rng: np.random.Generator) -> Factors:
    return Factors(
        digit=int(rng.integers(10)),
        colour=COLOURS[rng.integers(len(COLOURS))],
        motion=MOTIONS[rng.integers(len(MOTIONS))],
        size=float(rng.random()),
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_parser_inverts_every_template_with_every_word(language: str):
    words = LANGUAGES[language]
    for template in words.templates:
        for digit in range(10):
            for motion, name in enumerate(MOTIONS):
                for moves, moving in zip(words.moves[motion], words.moving[motion], strict=True):
                    text = template.format(
                        digit=words.digits[digit],
                        colour=words.colours[digit % 8],
                        size=words.sizes[digit % 4],
                        moves=moves,
                        moving=moving,
                    )
                    assert parse_caption(text) == {
                        "digit": digit,
                        "colour": COLOURS[digit % 8],
                        "motion": name,
                        "size": SIZES[digit % 4],
                        "language": language,
                    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_parser_inverts_drawn_captions(language: str):
    rng = np.random.default_rng(0)
    for _ in range(500):
        factors = draw_factors(rng)
        expected = {**vars(factors), "size": size_word(factors.size), "language": language}
        assert parse_caption(caption(factors, language, rng)) == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_six_templates_or_more_and_no_ambiguous_caption(language: str):
    words = LANGUAGES[language]
    assert len(set(words.templates)) >= 6
    phrases = [phrase for group in (*words.moves, *words.moving) for phrase in group]
    assert len(set(phrases)) == len(phrases)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_query_names_what_it_mentions_and_nothing_else(language: str):
    rng, words = np.random.default_rng(0), LANGUAGES[language]
    for _ in range(60):
        factors = draw_factors(rng)
        said = {
            "digit": {words.digits[factors.digit], str(factors.digit)},
            "colour": {words.colours[COLOURS.index(factors.colour)]},
            "size": {words.sizes[SIZES.index(size_word(factors.size))]},
        }
        for subset in SUBSETS:
            tokens = set(query(factors, subset, language, rng).replace(",", " ").split())
            tokens = {token.strip(":") for token in tokens}
            for factor, names in said.items():
                assert bool(names & tokens) == (factor in subset)


def test_partial_queries_take_the_forms_that_people_use():
    rng, factors = np.random.default_rng(0), Factors(7, "red", "left", 0.6)
    forms = {query(factors, subset, "en", rng) for subset in SUBSETS for _ in range(80)}
    assert {"seven", "left", "something red", "a big digit", "a red seven"} <= forms
    assert "a red seven moves left" in forms


def test_only_the_full_set_of_factors_makes_a_complete_caption():
    rng, factors = np.random.default_rng(0), Factors(8, "blue", "up", 0.1)
    for subset in SUBSETS:
        parsed = parse_caption(query(factors, subset, "en", rng))
        assert (parsed is not None) == (len(subset) == len(FACTORS))


@pytest.mark.parametrize(
    "text",
    ["", "a red seven", "a big red seven moves left or right", "a big red seven moves  left"],
)
def test_a_text_that_fits_no_template_is_not_parsed(text: str):
    assert parse_caption(text) is None


def test_utterances_follow_the_order_of_the_language():
    assert utterance(7, "red", "en") == "red seven"
    assert utterance(7, "red", "es") == "siete rojo"
    assert utterance(None, "red", "es") == "rojo"
