"""From domains to shards: documents are cleaned each by itself, then compared, mixed and split."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from core.digests import Digests
from core.engine import Engine, Local, map_in_order
from core.errors import UserError
from core.files import new_folder
from core.manifest import Manifest
from core.outcome import Hint, Hints, outcome_of
from core.shard_writer import ShardWriter, check_absent
from core.splits import SPLITS, with_progress
from text.charsets import check_encoding
from text.corpus.choose import Splitting, Written, chosen, compared
from text.corpus.cleanse import Cleaning, Cleansed, Work, cleanse
from text.corpus.documents import Layout, parts_of
from text.corpus.domains import Domain
from text.corpus.gather import gathered
from text.corpus.ledger import Accounts
from text.corpus.page import write_page
from text.corpus.rules import Rules, damage, quality
from text.corpus.spool import Spool

REASONS = ("duplicate", "contradictory labels", "near duplicate", "beyond its weight")
"""Why a document is dropped that is fit by itself, in order."""
RULE = Hint("page.html shows some, --rules.* are the thresholds")
HINTS: Hints = {
    "too long": Hint("--longest keeps longer ones, --unit paragraph parts files of text"),
    "too short": Hint("--shortest keeps shorter ones"),
    "empty": Hint("", loss=False),
    "empty file": Hint("", loss=False),
    "file of a cache": Hint("", loss=False),
    "binary file": Hint("they hold zero bytes"),
    "not text of its encoding": Hint("--encoding names another"),
    "not UTF-8": Hint("--encoding cp1252, say, reads them"),
    "contradictory labels": Hint("their texts occur with several labels"),
    "near duplicate": Hint("a higher --near keeps more"),
    "beyond its weight": Hint("other --weights, or --max_repeats, keep more"),
    "language": Hint("--languages names those to keep"),
    **dict.fromkeys((*damage(Rules()), *quality(Rules())), RULE),
}
"""What became of documents, and which option changes it."""


def build(
    out: Path,
    domains: Sequence[Domain],
    layout: Layout,
    cleaning: Cleaning,
    splitting: Splitting,
    engine: Engine = Local(),
    *,
    strict: bool = False,
    **facts: Any,
) -> dict[str, Manifest]:
    """Write `out/train`, `out/val` and `out/page.html`; `out` appears whole or not at all.

    Meanwhile all documents lie there once more, as do copies of what is remote or packed.

    Args:
        strict: Raise, and write nothing, if more than a tenth of the documents is dropped.
        facts: `source`, `licence`, `builder` of the manifests.
    """
    check_encoding(layout.encoding)
    if splitting.val == "tail" and domains[0].weight is not None:
        raise UserError("the end of all characters cannot be weighed; leave out --weights or --val")
    if splitting.max_repeats > 1 and domains[0].weight is None:
        raise UserError(
            f"max_repeats is {splitting.max_repeats} but without weights nothing is repeated; add"
            " --weights"
        )
    check_absent(out)
    reasons = (*cleaning.predicates(), *REASONS)
    accounts = Accounts(tuple(domain.name for domain in domains), reasons)
    about = Manifest(0, (), ("txt", "json"), **facts)
    with new_folder(out) as folder:
        scratch = folder / "scratch"
        scratch.mkdir()
        made = _clean(domains, scratch, layout, cleaning, engine, accounts)
        with Spool(scratch / "spool") as spool:
            contradicted = _fill(spool, made, accounts, labelled=layout.label is not None)
            numbers = compared(spool, accounts, contradicted, cleaning.near)
            written = chosen(spool, numbers, domains, accounts, splitting)
            manifests = _write(folder, written, domains, accounts, about)
        if strict:
            outcome_of(manifests, hints_of(layout)).check(out)
        shutil.rmtree(scratch)
        write_page(folder, accounts, manifests)
    return manifests


def hints_of(layout: Layout) -> Hints:
    """Return what became of documents, and which option changes it."""
    named = {
        f"no text under {layout.field!r}": Hint("--field names the key of a record's text"),
        f"no label under {layout.label!r}": Hint("--label names the key of a record's label"),
    }
    return {**HINTS, **named}


def _clean(
    domains: Sequence[Domain],
    scratch: Path,
    layout: Layout,
    cleaning: Cleaning,
    engine: Engine,
    accounts: Accounts,
) -> Iterator[Cleansed]:
    """Yield what the workers make of every part of every file, in order."""
    total = sum(1 for _ in _work(domains, scratch, layout, accounts.files))
    work = _work(domains, scratch, layout, Counter())
    made = map_in_order(engine, partial(cleanse, layout=layout, cleaning=cleaning), work)
    return with_progress(made, "parts", total)


def _work(
    domains: Sequence[Domain], scratch: Path, layout: Layout, files: Counter[str]
) -> Iterator[Work]:
    for domain in domains:
        for path in gathered(domain.place, scratch, files, layout.encoding):
            yield from (Work(domain.name, part) for part in parts_of(path, layout))


def _fill(
    spool: Spool, made: Iterator[Cleansed], accounts: Accounts, *, labelled: bool
) -> set[bytes]:
    """Put the first document of each text aside; return digests of texts with several labels."""
    texts, pairs = Digests(), Digests()
    contradicted: set[bytes] = set()
    for cleansed in made:
        domain = accounts.names.index(cleansed.domain)
        accounts.add(domain, cleansed.ledger)
        for kept in cleansed.kept:
            new = texts.add(kept.digest)
            if (labelled and pairs.add(kept.labelled)) and not new:
                contradicted.add(kept.digest[:16])
                accounts.drop(domain, "contradictory labels", kept.text)
            elif new:
                spool.add(kept, domain)
            else:
                accounts.drop(domain, "duplicate", kept.text)
    return contradicted


def _write(
    folder: Path,
    written: Iterator[Written],
    domains: Sequence[Domain],
    accounts: Accounts,
    about: Manifest,
) -> dict[str, Manifest]:
    """Write each sample to its split, named by its number among all."""
    sizes: dict[str, Counter[int]] = {split: Counter() for split in SPLITS}
    train, val = (ShardWriter(folder / split, about) for split in SPLITS)
    with train, val:
        for number, one in enumerate(written):
            writer = train if one.split == "train" else val
            writer.add({"__key__": f"{number:08d}", "txt": one.text, "json": one.meta})
            sizes[one.split][one.domain] += len(one.text)
        for writer in (train, val):
            writer.about = replace(about, card=_card(domains, accounts, sizes[writer.folder.name]))
        return {writer.folder.name: writer.finish(accounts.dropped) for writer in (train, val)}


def _card(domains: Sequence[Domain], accounts: Accounts, sizes: Counter[int]) -> dict[str, Any]:
    """Return figures of before and after, and the bytes of a split by domain."""
    figures = {
        domain.name: accounts[domain.name].to_plain()
        | {"weight": domain.weight, "bytes_in_split": sizes[number]}
        for number, domain in enumerate(domains)
    }
    return accounts.total.to_plain() | {"domains": figures}
