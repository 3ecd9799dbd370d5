"""Your own texts as clean shards: captions, or documents of any length.

python -m text.shards --source my_texts --out data/texts
python -m text.shards --source my_books --out data/books --unit paragraph --near 0.8
python -m text.shards --source my_play.txt --out data/play --unit file --val tail
python -m text.shards --source web books --weights 0.7 0.3 --out data/mixed --unit file
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from core.cli import command, plain_options, quoted_lists
from core.engine import EngineName, engine_named
from core.errors import UserError
from core.outcome import FLAGS
from core.plain import to_plain
from core.splits import report
from core.storage import is_url
from text.captions import HINTS, write_captions
from text.corpus.build import build, hints_of
from text.corpus.choose import Cut, Splitting
from text.corpus.cleanse import Cleaning
from text.corpus.documents import Layout
from text.corpus.domains import Place, domains
from text.corpus.rules import Rules
from text.corpus.terms import read_terms
from text.files import as_texts
from text.unit import LONGEST_CAPTION, usual_unit

LONGEST_DOCUMENT = 10_000_000
LISTS = ("--source", "--weights", "--languages", "--terms")
"""Options that take several values."""


def shards(
    source: Place | list[Place],
    out: Path,
    unit: Literal["caption", "line", "paragraph", "file"] | None = None,
    field: str = "text",
    label: str | None = None,
    shortest: int = 1,
    longest: int | None = None,
    val: Cut = "hash",
    val_fraction: float = 0.1,
    weights: list[float] | None = None,
    max_repeats: int = 1,
    near: float | None = None,
    languages: list[str] | None = None,
    terms: list[Path] | None = None,
    rules: Rules = Rules(),
    encoding: str | None = None,
    strict: bool = False,
    licence: str = "not stated",
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Turn files of text into shards for training, and say what was dropped and why.

    A caption is a line of .txt or .jsonl files whose white space is joined. Documents (all other
    units) keep white space and line breaks, but for CR LF, which becomes LF, and a byte order mark.
    They come from .txt and .jsonl, also packed (.gz), from .parquet, and from folders that Hugging
    Face's datasets saved, where each record is a document; page.html shows what became of them.

    Args:
        source: Folder with files, also in folders below it, or one file; of documents also several
            of these, URLs that fsspec knows, or a .yaml file of name: {path: ..., weight: ...}.
        out: Folder to write; train and val appear in it.
        unit: What one text is in plain text: a caption, or a document that is a line, the lines
            between blank lines, or a file. By default short texts of a line are captions; records
            that are longer, or of several lines, and texts of long lines are documents.
        field: Key or column of a record's text.
        label: Key or column of a record's label; texts that occur with several are dropped.
        shortest: Texts with fewer characters are dropped.
        longest: Texts with more characters are dropped; 1,000 for captions, 10 million otherwise.
        val: Validation is a share of texts chosen by a hash of their content, or the tail of all
            characters; the document that is cut is in both splits.
        val_fraction: Share of texts, or of characters, for validation.
        weights: For each source the part that it has of the bytes of train; none is written more
            than `max_repeats` times, so the scarcest decides how much of the others is taken.
        max_repeats: Most times that a document of train is written.
        near: Similarity of runs of five words, 0.8 say, from which a document is dropped that is
            like one before; memory grows with the documents.
        languages: Codes (ISO 639-1) of the languages to keep; all by default.
        terms: Files that list terms, one a line; documents with one of them are dropped.
        rules: Thresholds of the cleaning of documents.
        encoding: Encoding of text files, such as cp1252; by default what a byte order mark tells,
            or UTF-8.
        strict: Fail, and write nothing, if more than a tenth is dropped, cut or joined.
        licence: Licence of the texts, for the manifest.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    hands = engine_named(engine, workers, address)
    source = source[0] if isinstance(source, list) and len(source) == 1 else source
    unit = usual_unit(source, field, encoding) if unit is None else unit
    if unit == "caption":
        asked = {"label": label, "val": val != "hash", "weights": weights, "near": near,
                 "languages": languages, "terms": terms, "max_repeats": max_repeats != 1,
                 "rules": rules != Rules()}  # fmt: skip
        _refuse_for_captions(source, [name for name, value in asked.items() if value])
        assert isinstance(source, str | Path)
        most = LONGEST_CAPTION if longest is None else longest
        limits, reading = (shortest, most), {"encoding": encoding, "strict": strict}
        manifests = write_captions(
            Path(source), out, field, limits, val_fraction, licence, hands, **reading
        )
        report(out, manifests, HINTS)
    else:
        most = LONGEST_DOCUMENT if longest is None else longest
        layout = Layout(unit, field, label, most, encoding)
        lists = tuple(read_terms(path) for path in terms or ())
        spoken = as_texts(languages or ())
        cleaning = Cleaning(shortest, layout.longest, rules, spoken, lists, near)
        splitting = Splitting(val, val_fraction, max_repeats)
        parts = domains(source, weights)
        facts = {"source": ", ".join(part.name for part in parts), "licence": licence,
                 "builder": _builder(layout, cleaning, splitting)}  # fmt: skip
        manifests = build(out, parts, layout, cleaning, splitting, hands, strict=strict, **facts)
        print(f"{out / 'page.html'}: what was dropped, and what is left")
        report(out, manifests, hints_of(layout))


def _refuse_for_captions(source: Place | list[Place], asked: Sequence[str]) -> None:
    """Raise if something is asked of captions that only documents have."""
    if isinstance(source, list):
        asked = ["several sources", *asked]
    elif is_url(str(source)):
        asked = ["a URL as source", *asked]
    if asked:
        raise UserError(
            f"captions take no {', '.join(asked)}; for documents add --unit line, paragraph or file"
        )


def _builder(layout: Layout, cleaning: Cleaning, splitting: Splitting) -> dict[str, Any]:
    """Return the options that were chosen; of lists of terms only the names."""
    plain = to_plain(cleaning) | {"terms": [terms.name for terms in cleaning.terms]}
    return {"command": "text.shards", **to_plain(layout), **plain, **to_plain(splitting)}


if __name__ == "__main__":
    words = quoted_lists(sys.argv[1:], LISTS, alone=("--source",))
    command(shards, plain_options(words, flags=FLAGS))
