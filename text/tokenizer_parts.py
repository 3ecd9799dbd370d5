"""Where a long text may be cut without changing its tokens.

The library takes some 300 bytes a byte of text while it encodes one, so a long text is encoded in
parts, where that gives the same.
"""

import re
from collections.abc import Mapping
from typing import Any

LONG = 4096
"""Characters of a text that is encoded in parts."""
SINGLE_END = re.compile(r"(?<=[^\s\u180e]\n)(?=[^\s\u180e])")
"""Behind a line's end between visible characters: Radford et al.'s expression for words never joins
it to what is before or behind. Mongolian's U+180E was white space until Unicode 6.3."""


def parts(text: str, layout: Mapping[str, Any]) -> list[str]:
    """Return a text in parts whose tokens in a row are its tokens.

    Args:
        layout: How the tokenizer reads: `TextTokenizer.layout`. Of one that is not known to allow
            it the text comes back whole.
    """
    model, words = layout["model"], layout["pre_tokenizer"]
    # Tokens that were put in and are no special ones may be found anywhere in a text.
    if layout["normalizer"] is not None or not all(t["special"] for t in layout["added_tokens"]):
        return [text]
    if _single(model) and (words is None or _byte_level(words, parted=False)):
        return [text[start : start + LONG] for start in range(0, len(text), LONG)]
    return SINGLE_END.split(text) if _byte_level(words, parted=True) else [text]


def _single(model: Mapping[str, Any]) -> bool:
    """Tell whether a character's tokens never depend on the others: nothing merges."""
    options = ("merges", "ignore_merges", "fuse_unk")
    return model.get("type") == "BPE" and not any(model.get(option) for option in options)


def _byte_level(words: Mapping[str, Any] | None, *, parted: bool) -> bool:
    """Tell whether bytes are all that is made of a text, and whether it is parted into words."""
    return (
        words is not None
        and words["type"] == "ByteLevel"
        and words.get("use_regex", True) is parted  # older files do not tell
        and not words.get("add_prefix_space", True)
    )
