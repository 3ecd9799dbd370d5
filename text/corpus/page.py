"""page.html beside the splits: what was dropped and why, with excerpts, and what is left."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import islice
from pathlib import Path

from core.manifest import Manifest
from core.shards import ShardReader
from text.corpus.ledger import Accounts, Ledger

SAMPLES = 3
"""Documents shown of each split: the first, the last, and one between."""
SHOWN = 600
"""Characters shown of each."""
WIDTH, HEIGHT, FOOT = 900, 200, 36
"""Of the histogram, in its own units; the foot holds the labels."""


def write_page(folder: Path, accounts: Accounts, manifests: Mapping[str, Manifest]) -> None:
    """Write page.html into the folder of the splits: one file, which opens from disk."""
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    about = manifests["train"]
    title = escape(about.source)
    body = "".join(_sections(folder, accounts, manifests))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: corpus</title><style>{css}</style></head><body><main>"
        f'<p class="brand">Unison · corpus</p><h1>{title}</h1>'
        f'<p class="lede">Licence: {escape(about.licence)}</p>{_tiles(accounts, manifests)}'
        f"{body}<footer>{escape(json.dumps(about.builder))}</footer></main></body></html>\n"
    )
    (folder / "page.html").write_text(page, encoding="utf-8")


def _sections(folder: Path, accounts: Accounts, manifests: Mapping[str, Manifest]) -> Iterator[str]:
    whole = accounts.total
    yield _section(
        "Dropped",
        "Each document counts under the first rule that it fails, in this order. The excerpts are"
        " the first that each rule dropped.",
        _reasons(whole, accounts.files),
    )
    yield _section("Lengths", "Documents by characters, before and after.", _histogram(whole))
    yield _section("Domains", _weights_note(accounts, manifests), _domains(accounts, manifests))
    for split in manifests:
        yield _section(
            f"Samples of {split}",
            f"Of {manifests[split].samples:,}: the first, one in the middle and the last.",
            "".join(_samples(folder / split)),
        )


def _tiles(accounts: Accounts, manifests: Mapping[str, Manifest]) -> str:
    whole = accounts.total
    found, kept = whole.found, whole.kept
    tiles = [
        (f"{kept.documents:,}", f"documents kept of {found.documents:,}"),
        (f"{kept.characters:,}", f"characters kept of {found.characters:,}"),
        (f"{kept.bytes:,}", f"bytes kept of {found.bytes:,}"),
        *(
            (f"{manifest.samples:,}", f"samples in {split}")
            for split, manifest in manifests.items()
        ),
    ]
    shown = "".join(f'<div class="tile"><b>{n}</b><span>{what}</span></div>' for n, what in tiles)
    return f'<div class="tiles">{shown}</div>'


def _reasons(whole: Ledger, files: Counter[str]) -> str:
    rows = [
        [escape(reason), f"{n.documents:,}", _percent(n.documents, whole.found.documents),
         f"{n.characters:,}", f"{n.bytes:,}"]
        for reason, n in whole.dropped.items()
    ]  # fmt: skip
    rows += [[f"file not read: {escape(r)}", f"{n:,}", "", "", ""] for r, n in files.items() if n]
    if not rows:
        return "<p>Nothing.</p>"
    head = ["reason", "documents", "of all", "characters", "bytes"]
    return _table(head, rows) + "".join(_excerpts(whole))


def _excerpts(whole: Ledger) -> Iterator[str]:
    for reason, lost in whole.dropped.items():
        shown = "".join(f"<pre>{_text(text)}</pre>" for text in whole.examples[reason])
        head = f"<summary><b>{escape(reason)}</b> · {lost.documents:,}</summary>"
        yield f"<details open>{head}{shown}</details>"


def _histogram(whole: Ledger) -> str:
    """Draw documents by length, a column for each power of two."""
    found, kept = whole.lengths_found, whole.lengths_kept
    if not found:
        return "<p>No document could be read.</p>"
    lengths = range(min(found), max(found) + 1)
    most, width = max(found.values()), WIDTH / len(lengths)
    bars = "".join(
        _bar("before", place * width + 2, width * 0.45, found[n] / most, found[n])
        + _bar("after", place * width + 2 + width * 0.45, width * 0.45, kept[n] / most, kept[n])
        + f'<text x="{(place + 0.47) * width:.1f}" y="{HEIGHT + 16}" text-anchor="middle">'
        f"{_bounds(n)}</text>"
        for place, n in enumerate(lengths)
    )
    return (
        f'<span class="key before">before</span><span class="key after">after</span>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" role="img" aria-label="lengths">{bars}</svg>'
    )


def _bar(kind: str, left: float, width: float, share: float, count: int) -> str:
    height = share * (HEIGHT - 16)
    number = (
        f'<text x="{left + width / 2:.1f}" y="{HEIGHT - height - 4:.1f}" text-anchor="middle">'
        f"{_short(count)}</text>"
        if count
        else ""
    )
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{HEIGHT - height:.1f}" width="{width:.1f}"'
        f' height="{height:.1f}"/>{number}'
    )


def _domains(accounts: Accounts, manifests: Mapping[str, Manifest]) -> str:
    cards = {split: manifest.card["domains"] for split, manifest in manifests.items()}
    trained = sum(card["bytes_in_split"] for card in cards["train"].values())
    weights = sum(card["weight"] or 0 for card in cards["train"].values())
    rows = []
    for name in accounts.names:
        ledger, card = accounts[name], cards["train"][name]
        wanted = _percent(card["weight"], weights) if weights else "all"
        rows.append([
            escape(name), f"{ledger.found.documents:,}", f"{ledger.kept.documents:,}",
            f"{ledger.found.bytes:,}", f"{ledger.kept.bytes:,}",
            f"{card['bytes_in_split']:,}", _percent(card["bytes_in_split"], trained), wanted,
            f"{cards['val'][name]['bytes_in_split']:,}",
        ])  # fmt: skip
    head = ["domain", "documents", "kept", "bytes", "kept", "in train", "of train", "wanted",
            "in val"]  # fmt: skip
    return _table(head, rows)


def _weights_note(accounts: Accounts, manifests: Mapping[str, Manifest]) -> str:
    repeated = sum(m.samples for m in manifests.values()) - accounts.total.kept.documents
    weighed = any(card["weight"] for card in manifests["train"].card["domains"].values())
    if not weighed:
        return "Each domain gives all that is kept of it."
    return (
        "Domains take the parts of the training bytes that their weights ask for; validation holds"
        f" what its share is of each. {repeated:,} samples are repetitions of others."
    )


def _samples(folder: Path) -> Iterator[str]:
    reader = ShardReader(folder)
    last = len(reader) - 1
    for place in islice(dict.fromkeys((0, last // 2, last)), SAMPLES):
        sample = reader.read(place)
        text, about = sample["txt"].decode(), json.loads(sample["json"])
        facts = " · ".join([*(f"{k} {v}" for k, v in about.items()), f"{len(text):,} characters"])
        more = " …" if len(text) > SHOWN else ""
        yield f"<pre><small>{escape(facts)}</small>{_text(text[:SHOWN])}{more}</pre>"


def _text(text: str) -> str:
    """Escape a text; what cannot be seen is shown as U+FFFD, and nothing as a word."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    return escape(shown) if shown.strip() else "<i>blank</i>"


def _section(title: str, note: str, content: str) -> str:
    return f'<section><h2>{title}</h2><p class="lede">{note}</p>{content}</section>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _bounds(bits: int) -> str:
    """Say which lengths have so many bits."""
    return "0" if bits == 0 else f"{_short(2 ** (bits - 1))}+"


def _short(count: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            return f"{count / (1000 if letter == 'k' else size):.3g}{letter}"
    return str(count)


def _percent(part: int | float, whole: int | float) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "0 %"
