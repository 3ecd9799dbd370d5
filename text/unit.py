"""What a text is by default: a caption a line, or a document, by what the first texts look like."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from core.errors import UserError
from core.sources import find_files
from core.storage import is_url
from text.charsets import encoding_of
from text.corpus.domains import MIXES, SUFFIXES, Place

LONGEST_CAPTION = 1000
"""Characters."""
LOOKED_AT = 1 << 20
"""Bytes of a file."""
FILES, TEXTS = 20, 100
"""How many files, and texts of each, are looked at."""
FEW = 0.1
"""Share of texts that are longer than a caption, or of several lines, among captions."""

Unit = Literal["caption", "line", "file"]


def usual_unit(source: Place | list[Place], field: str, encoding: str | None = None) -> Unit:
    """Return what one text is: a caption, a long line or, of records, a document; say if it is one.

    Args:
        source: As for `text.shards`.
        field: Key of a record's text.
        encoding: Of files without a byte order mark; by default UTF-8.
    """
    if isinstance(source, list) or is_url(str(source)):
        return "caption"  # which refuses them and names the units to choose from
    if Path(source).suffix.lower() in MIXES:
        return "file"
    files = list(islice(find_files(Path(source), SUFFIXES, Counter()), FILES))
    plain = [path for path in files if path.suffix.lower() in (".txt", ".jsonl")]
    if not plain:
        return "file"
    keys: Counter[str] = Counter()
    found = [text for path in plain for text in _first_texts(path, field, encoding, keys)]
    if not found and keys:
        raise UserError(
            f"no record of {source} has a text under {field!r}; its keys are {', '.join(keys)}:"
            " name one with --field (conversations are for python -m text.conversations)"
        )
    long = sum(len(text) > LONGEST_CAPTION or "\n" in text for text in found)
    if long <= FEW * len(found):
        return "caption"
    records = any(path.suffix.lower() == ".jsonl" for path in plain)
    unit: Unit = "file" if records else "line"
    print(
        f"taken as documents (--unit {unit}): {long} of the first {len(found)} texts are longer"
        f" than {LONGEST_CAPTION:,} characters or of several lines; --unit caption takes lines"
    )
    return unit


def _first_texts(path: Path, field: str, encoding: str | None, keys: Counter[str]) -> Iterator[str]:
    """Yield some texts at the beginning of a file, as far as they can be read; count keys."""
    with path.open("rb") as stream:
        data = stream.read(LOOKED_AT)
    found = encoding_of(data)
    text = data.decode(encoding or found if found == "utf-8" else found, "replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    # The last may be cut; where it is the only one, its length tells enough.
    whole = lines if len(lines) == 1 or len(data) < LOOKED_AT else lines[:-1]
    for line in islice(filter(str.strip, whole), TEXTS):
        if path.suffix.lower() == ".txt":
            yield line
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict):
            continue
        keys.update(map(str, record))
        if isinstance(record.get(field), str):
            yield record[field].strip()
