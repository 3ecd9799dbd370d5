"""Captions in English and Spanish: complete ones, partial queries, and an exact parser.

A language is a table of words, templates and motion phrases; everything else is shared, so a new
language is one more `Language`.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from core.errors import UserError
from multimodal.factors import COLOURS, FACTORS, MOTIONS, SIZES, Factor, Factors, size_word

SUBSETS: tuple[tuple[Factor, ...], ...] = tuple(
    subset for count in range(1, len(FACTORS) + 1) for subset in combinations(FACTORS, count)
)
"""Every non-empty set of factors that a query may mention."""

NUMERAL_SHARE = 0.15
"""Share of captions that write the digit as a numeral."""


@dataclass(frozen=True)
class Language:
    """The words and patterns of one language."""

    digits: tuple[str, ...]
    """Names of 0 to 9."""
    colours: tuple[str, ...]
    """In the order of COLOURS."""
    sizes: tuple[str, ...]
    """In the order of SIZES."""
    moves: tuple[tuple[str, ...], ...]
    """Finite phrases per motion ("moves left"), in the order of MOTIONS."""
    moving: tuple[tuple[str, ...], ...]
    """Participle phrases per motion ("moving left")."""
    bare: tuple[str, ...]
    """One word or two per motion ("left"), for queries."""
    templates: tuple[str, ...]
    """Complete captions over {digit} {colour} {size} {moves} {moving}."""
    named: Callable[[str, str], tuple[str, ...]]
    """Noun phrases of a query that names the digit, from its adjectives and the digit."""
    unnamed: Callable[[str], tuple[str, ...]]
    """Noun phrases of a query that leaves the digit open: no "a big one", which names a digit."""
    speak: Callable[[str, str], str]
    """The utterance, from digit and colour, either of which may be empty."""
    adjectives: Callable[[str, str], str]
    """Size and colour in the order of the language, either of which may be empty."""


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _spaced(*words: str) -> str:
    return " ".join(word for word in words if word)


ENGLISH = Language(
    digits=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    colours=COLOURS,
    sizes=SIZES,
    moves=(
        ("stays still", "does not move"),
        ("moves left", "goes to the left"),
        ("moves right", "goes to the right"),
        ("moves up", "goes upwards"),
        ("moves down", "goes downwards"),
    ),
    moving=(
        ("standing still", "not moving"),
        ("moving left", "going to the left"),
        ("moving right", "going to the right"),
        ("moving up", "going upwards"),
        ("moving down", "going downwards"),
    ),
    bare=MOTIONS,
    templates=(
        "a {size} {colour} {digit} {moves}",
        "a {size} {digit} in {colour} {moves}",
        "the {colour} {digit} is {size} and {moves}",
        "a {colour} {digit}, {size}, {moving}",
        "{size} {colour} {digit} {moving}",
        "the digit {digit}, {size} and {colour}, {moving}",
        "it is a {digit}: {colour}, {size}, {moving}",
        "here a {size} {digit} {moves}, and it is {colour}",
    ),
    named=lambda adjectives, digit: (
        _spaced(adjectives, digit),
        _article(_spaced(adjectives, digit)),
        f"the {_spaced(adjectives, digit)}",
        _article(_spaced(adjectives, "number", digit)),
    ),
    unnamed=lambda adjectives: (
        _spaced("something", adjectives),
        _article(_spaced(adjectives, "thing")),
        _article(_spaced(adjectives, "digit")),
    ),
    speak=lambda digit, colour: _spaced(colour, digit),
    adjectives=lambda size, colour: _spaced(size, colour),
)

SPANISH = Language(
    digits=("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
    colours=("rojo", "verde", "azul", "amarillo", "morado", "cian", "blanco", "negro"),
    sizes=("diminuto", "pequeño", "grande", "enorme"),
    moves=(
        ("se queda quieto", "no se mueve"),
        ("se mueve a la izquierda", "va hacia la izquierda"),
        ("se mueve a la derecha", "va hacia la derecha"),
        ("se mueve hacia arriba", "va arriba"),
        ("se mueve hacia abajo", "va abajo"),
    ),
    moving=(
        ("quieto", "sin moverse"),
        ("moviéndose a la izquierda", "yendo hacia la izquierda"),
        ("moviéndose a la derecha", "yendo hacia la derecha"),
        ("moviéndose hacia arriba", "yendo hacia arriba"),
        ("moviéndose hacia abajo", "yendo hacia abajo"),
    ),
    bare=("quieto", "izquierda", "derecha", "arriba", "abajo"),
    templates=(
        "un {digit} {colour} y {size} {moves}",
        "un {digit} {size} de color {colour} {moves}",
        "el {digit} {colour} es {size} y {moves}",
        "un {digit} {colour}, {size}, {moving}",
        "{digit} {colour} {size} {moving}",
        "el dígito {digit}, {size} y {colour}, {moving}",
        "es un {digit}: {colour}, {size}, {moving}",
        "aquí un {digit} {size} {moves}, y es {colour}",
    ),
    named=lambda adjectives, digit: (
        _spaced(digit, adjectives),
        _spaced("un", digit, adjectives),
        _spaced("el", digit, adjectives),
        _spaced("un número", digit, adjectives),
    ),
    unnamed=lambda adjectives: (
        _spaced("algo", adjectives),
        _spaced("un número", adjectives),
        _spaced("un dígito", adjectives),
    ),
    speak=lambda digit, colour: _spaced(digit, colour),
    adjectives=lambda size, colour: " y ".join(word for word in (colour, size) if word),
)

LANGUAGES = {"en": ENGLISH, "es": SPANISH}


def check_languages(languages: Sequence[str]) -> None:
    """Raise for a language without a table."""
    for name in languages:
        if name not in LANGUAGES:
            known = " ".join(sorted(LANGUAGES))
            raise UserError(f"language {name!r} is unknown; choose among: {known}")
    if not languages:
        raise UserError("no language given; add for example: --languages en")


def caption(factors: Factors, language: str, rng: np.random.Generator) -> str:
    """Return a complete caption in one of the language's templates."""
    words = LANGUAGES[language]
    motion = MOTIONS.index(factors.motion)
    return _pick(words.templates, rng).format(
        digit=_digit(factors.digit, words, rng),
        colour=words.colours[COLOURS.index(factors.colour)],
        size=words.sizes[SIZES.index(size_word(factors.size))],
        moves=_pick(words.moves[motion], rng),
        moving=_pick(words.moving[motion], rng),
    )


def query(
    factors: Factors, mentions: Collection[Factor], language: str, rng: np.random.Generator
) -> str:
    """Return a caption that mentions only the given factors ("something red", "seven", "left")."""
    if len(mentions) == len(FACTORS):
        return caption(factors, language, rng)
    words = LANGUAGES[language]
    colour = words.colours[COLOURS.index(factors.colour)] if "colour" in mentions else ""
    size = words.sizes[SIZES.index(size_word(factors.size))] if "size" in mentions else ""
    adjectives = words.adjectives(size, colour)
    if "digit" in mentions:
        nouns = words.named(adjectives, _digit(factors.digit, words, rng))
    else:
        nouns = (*words.unnamed(adjectives), *([adjectives] if adjectives else []))
    if "motion" not in mentions:
        return _pick(nouns, rng)
    motion = MOTIONS.index(factors.motion)
    phrase = _pick((*words.moves[motion], *words.moving[motion]), rng)
    whole = f"{_pick(nouns, rng)} {phrase}"
    return _pick((words.bare[motion], whole), rng) if len(mentions) == 1 else whole


def utterance(digit: int | None, colour: str | None, language: str) -> str:
    """Return the spoken words for a digit, a colour, or both."""
    words = LANGUAGES[language]
    return words.speak(
        "" if digit is None else words.digits[digit],
        "" if colour is None else words.colours[COLOURS.index(colour)],
    )


def parse_caption(text: str) -> dict[str, int | str] | None:
    """Return the factors of a complete caption, or None if no template of any language fits.

    Exact but for case, outer space and a final full stop; `size` is the size word.
    """
    text = text.strip().lower().removesuffix(".")
    for name, patterns in _patterns().items():
        for pattern in patterns:
            if found := pattern.fullmatch(text):
                return _read(found.groupdict(), name)
    return None


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _digit(digit: int, words: Language, rng: np.random.Generator) -> str:
    return str(digit) if rng.random() < NUMERAL_SHARE else words.digits[digit]


@cache
def _patterns() -> dict[str, list[re.Pattern[str]]]:
    return {
        name: [_pattern(template, words) for template in words.templates]
        for name, words in LANGUAGES.items()
    }


def _pattern(template: str, words: Language) -> re.Pattern[str]:
    choices = {
        "digit": [*words.digits, *map(str, range(10))],
        "colour": words.colours,
        "size": words.sizes,
        "moves": [phrase for phrases in words.moves for phrase in phrases],
        "moving": [phrase for phrases in words.moving for phrase in phrases],
    }
    groups = {
        name: f"(?P<{name}>{'|'.join(map(re.escape, phrases))})"
        for name, phrases in choices.items()
    }
    return re.compile(template.format(**groups))


def _read(found: dict[str, str], language: str) -> dict[str, int | str]:
    words = LANGUAGES[language]
    digit, phrase = found["digit"], found.get("moves") or found["moving"]
    motion = next(
        motion
        for motion, *phrases in zip(MOTIONS, words.moves, words.moving, strict=True)
        if any(phrase in group for group in phrases)
    )
    return {
        "digit": int(digit) if digit.isdigit() else words.digits.index(digit),
        "colour": COLOURS[words.colours.index(found["colour"])],
        "motion": motion,
        "size": SIZES[words.sizes.index(found["size"])],
        "language": language,
    }
