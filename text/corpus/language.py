"""The language of a document, by py3langid: counts of byte n-grams, a model inside its wheel.

Source: Lui and Baldwin 2012 (langid.py).
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from core.errors import UserError

BEGINNING = 10_000
"""Characters that are looked at."""


def check_languages(languages: Sequence[str]) -> None:
    """Raise unless the codes (ISO 639-1: en, de, ...) are known, and the package is there."""
    if not languages:
        raise UserError("no language is listed; name one as in --languages en de, or leave it out")
    known = _known()
    if unknown := [code for code in languages if code not in known]:
        raise UserError(
            f"language {unknown[0]} is not known; name some of {', '.join(sorted(known))}"
        )


def language(text: str) -> str:
    """Return the code of the language that a text's beginning is most likely written in."""
    return _identifier().classify(text[:BEGINNING])[0]


def _known() -> Collection[str]:
    return {code for code, _ in _identifier().rank("")}


@cache
def _identifier() -> Any:
    try:
        import py3langid
    except ImportError as error:
        raise UserError(
            "languages are told by py3langid; install it with: pip install 'py3langid>=0.4' (or the"
            " extra corpus)"
        ) from error
    return py3langid
