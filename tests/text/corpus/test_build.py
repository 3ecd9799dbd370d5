"""From files to shards: what is kept, where it goes, and what the accounts say."""

import json
import os
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.cli import command, quoted_lists
from core.files import existing_file
from core.manifest import Manifest
from core.shard_check import verify
from core.shards import ShardReader
from text.corpus.domains import domains
from text.corpus.rules import Rules
from text.data import TextData
from text.shards import LISTS, shards


def samples(out: Path, split: str) -> list[tuple[str, dict]]:
    reader = ShardReader(out / split)
    found = (reader.read(n) for n in range(len(reader)))
    return [(one["txt"].decode(), json.loads(one["json"])) for one in found]


def all_texts(out: Path) -> list[str]:
    return [text for split in ("train", "val") for text, _ in samples(out, split)]


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def records(path: Path, found: list[dict]) -> Path:
    return write(path, "\n".join(map(json.dumps, found)))


def words(start: int, stop: int) -> str:
    return " ".join(f"w{n}" for n in range(start, stop))


def test_paragraphs_are_documents_with_their_white_space(tmp_path):
    source = write(tmp_path / "a.txt", "  one\n\ttwo  \n\n\n\nthree\r\nfour\r\n\r\nfive")
    shards(source, tmp_path / "out", unit="paragraph")
    assert set(all_texts(tmp_path / "out")) == {"  one\n\ttwo  ", "three\nfour", "five"}
    assert samples(tmp_path / "out", "train")[0][1] == {"domain": "a"}
    batch = next(iter(TextData(str(tmp_path / "out"), batch_size=2).train_dataloader()))
    assert set(batch["text"]) <= set(all_texts(tmp_path / "out"))


def test_documents_fall_into_the_split_that_captions_do(tmp_path):
    source = write(tmp_path / "a.txt", "\n".join(f"text {n}" for n in range(200)))
    shards(source, tmp_path / "captions")
    shards(source, tmp_path / "lines", unit="line")
    for split in ("train", "val"):
        reader = ShardReader(tmp_path / "captions" / split)
        captions = [reader.read(n)["txt"].decode() for n in range(len(reader))]
        assert [text for text, _ in samples(tmp_path / "lines", split)] == captions


@pytest.mark.parametrize("count", [2, 3])
def test_neither_split_is_empty(tmp_path, count):
    source = write(tmp_path / "a.txt", "\n".join(f"text {n}" for n in range(count)))
    for share in (0.001, 0.999):
        shards(source, tmp_path / str(share), unit="line", val_fraction=share)
        sizes = [len(samples(tmp_path / str(share), split)) for split in ("train", "val")]
        assert min(sizes) == 1
        assert sum(sizes) == count


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_tail_of_one_file_is_exactly_its_last_characters(tmp_path, share):
    text = "Zwölf Boxkämpfer\n\n jagen  Viktor\n" * 37
    shards(write(tmp_path / "a.txt", text), tmp_path / "out", unit="file", val="tail",
           val_fraction=share, rules=Rules(judged=10**6))  # fmt: skip
    place = int((1 - share) * len(text))
    assert samples(tmp_path / "out", "train") == [(text[:place], {"domain": "a"})]
    assert samples(tmp_path / "out", "val") == [(text[place:], {"domain": "a"})]


def test_the_tail_of_many_documents_cuts_one_at_most(tmp_path):
    lines = [f"{n:03d} in a row" for n in range(100)]
    shards(write(tmp_path / "a.txt", "\n".join(lines)), tmp_path / "out", unit="line", val="tail",
           val_fraction=0.333)  # fmt: skip
    train, val = ([text for text, _ in samples(tmp_path / "out", s)] for s in ("train", "val"))
    assert "".join([*train, *val]) == "".join(lines)
    assert len("".join(train)) == int((1 - 0.333) * len("".join(lines)))
    assert [*train[:-1], train[-1] + val[0], *val[1:]] == lines


@pytest.mark.data
def test_tinyshakespeare_is_cut_as_published(tmp_path):
    if "UNISON_DATA" not in os.environ:
        pytest.skip("needs UNISON_DATA, the folder with real data")
    path = existing_file(Path(os.environ["UNISON_DATA"]) / "tinyshakespeare" / "input.txt")
    shards(path, tmp_path / "out", unit="file", val="tail")
    data = path.read_bytes()
    assert len(data) == 1_115_394
    ((train, _),), ((val, _),) = (samples(tmp_path / "out", split) for split in ("train", "val"))
    assert len(val) == 111_540
    assert train.encode() == data[: int(0.9 * len(data))]
    assert val.encode() == data[int(0.9 * len(data)) :]


@pytest.fixture
def mixed_bag(tmp_path) -> Path:
    """A folder with something for every reason to drop it."""
    folder = tmp_path / "bag"
    chant = " ".join(["the cat sat on the mat and"] * 20)
    texts = ["kept " * 3, "kept as well", "kept " * 3, "  ", "x", "y" * 5000, "a\x01b", "\ufffd?",
             "FranÃ§ois dÃ©jÃ\xa0", chant, "cheap pills here", words(0, 400),
             words(2, 402)]  # fmt: skip
    records(folder / "a.jsonl", [{"text": text} for text in texts])
    with (folder / "a.jsonl").open("ab") as file:
        file.write(b'\n{"text": 3}\n{broken\n{"text": "\xff"}\n')
    write(folder / "b.txt", b"\x89PNG\0")
    write(folder / "c.pdf", b"pdf")
    return folder


REASONS = [
    "no text under 'text'", "not JSON", "not UTF-8", "empty", "too short", "too long",
    "control characters", "replacement characters", "mojibake", "repeated words",
    "in the list spam", "duplicate", "near duplicate",
]  # fmt: skip


def build_bag(bag: Path, out: Path, **options) -> Manifest:
    terms = write(bag.parent / "spam.txt", "cheap pills\n")
    shards(bag, out, unit="file", shortest=2, longest=4000, near=0.8, terms=[terms], **options)
    return Manifest.load(out / "train")


def test_every_document_is_kept_or_counted_under_one_reason(mixed_bag, tmp_path):
    manifest = build_bag(mixed_bag, tmp_path / "out")
    assert sorted(all_texts(tmp_path / "out")) == ["kept as well", "kept " * 3, words(0, 400)]
    files = {"binary file": 1, "other kind of file": 1}
    assert manifest.dropped == dict.fromkeys(REASONS, 1) | files
    card = manifest.card
    assert [row["reason"] for row in card["dropped"]] == REASONS
    for figure in ("documents", "bytes", "characters"):
        lost = sum(row[figure] for row in card["dropped"])
        assert card["before"][figure] == card["after"][figure] + lost
    assert card["before"]["documents"] == 16
    assert card["after"]["bytes"] == sum(len(text.encode()) for text in all_texts(tmp_path / "out"))
    assert set(card["domains"]) == {"bag"}


def test_all_that_is_written_verifies(mixed_bag, tmp_path):
    build_bag(mixed_bag, tmp_path / "out")
    assert verify(tmp_path / "out") is None
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"train", "val", "page.html"}


class Page(HTMLParser):
    """What a browser would make of a page: its words, and how often each tag opens and closes."""

    def __init__(self, text: str):
        super().__init__()
        self.words, self.open = "", Counter()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open[tag] += 1

    def handle_endtag(self, tag):
        self.open[tag] -= 1

    def handle_data(self, data):
        self.words += data


def test_the_page_shows_each_reason_with_its_text_escaped(mixed_bag, tmp_path):
    records(mixed_bag / "d.jsonl", [{"text": "<script>alert(1)</script> \x02 & co"},
                                    {"text": "<b>kept</b>\n too"}])  # fmt: skip
    build_bag(mixed_bag, tmp_path / "out", licence="<none>")
    text = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(reason in page.words for reason in REASONS)
    assert "<script>alert(1)</script> \ufffd & co" in page.words
    assert "<b>kept</b>\n too" in page.words
    assert "<none>" in page.words
    assert page.open["script"] == page.open["b"] - text.count("<b>") + text.count("</b>") == 0
    assert {tag: n for tag, n in page.open.items() if n} == {"meta": 2}
    assert not re.search(r"https?://|src=|\x02", text)


def test_texts_with_several_labels_are_dropped_and_labels_kept(tmp_path):
    found = [("one", 1), ("two", "b"), ("one", 1), ("three", 1), ("two", "c"), ("four", True),
             ("two", "b"), ("five", None), ("six", [1])]  # fmt: skip
    source = records(tmp_path / "a.jsonl", [{"text": t, "kind": k} for t, k in found])
    shards(source, tmp_path / "out", unit="file", label="kind")
    kept = [pair for split in ("train", "val") for pair in samples(tmp_path / "out", split)]
    labels = {text: meta["label"] for text, meta in kept}
    assert labels == {"one": 1, "three": 1, "four": True}
    assert Manifest.load(tmp_path / "out" / "val").dropped == {
        "duplicate": 2, "contradictory labels": 2, "no label under 'kind'": 2,
    }  # fmt: skip


def test_only_the_languages_asked_for_are_kept(tmp_path):
    english = "The quick brown fox jumps over the lazy dog near the river bank, {} times."
    german = "Der schnelle braune Fuchs springt über den faulen Hund am Flussufer, {} Mal."
    lines = [text.format(n) for n in range(5) for text in (english, german)]
    source = write(tmp_path / "a.txt", "\n".join(lines))
    shards(source, tmp_path / "out", unit="line", languages=["de"])
    assert sorted(all_texts(tmp_path / "out")) == sorted(german.format(n) for n in range(5))
    assert Manifest.load(tmp_path / "out" / "train").dropped == {"language": 5}


def domain_bytes(out: Path) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for text, meta in samples(out, "train"):
        sizes[meta["domain"]] += len(text.encode())
    return sizes


@pytest.fixture
def two(tmp_path) -> list[str | Path]:
    """Two sources, the second twice as large."""
    sizes = {"web": 400, "books": 800}
    return [
        write(
            tmp_path / name / "a.txt",
            "\n".join(f"{name} {n:06d}" + "x" * (n % 40) for n in range(c)),
        ).parent
        for name, c in sizes.items()
    ]


def test_weights_are_the_parts_of_the_training_bytes(two, tmp_path):
    shards(two, tmp_path / "out", unit="line", weights=[0.25, 0.75])
    sizes = domain_bytes(tmp_path / "out")
    assert sizes["web"] / sizes.total() == pytest.approx(0.25, abs=2e-3)
    manifest = Manifest.load(tmp_path / "out" / "train")
    domains = manifest.card["domains"]
    assert {name: row["bytes_in_split"] for name, row in domains.items()} == dict(sizes)
    assert (
        sum(sum(r["documents"] for r in d["dropped"]) for d in domains.values())
        == (manifest.dropped["beyond its weight"])
    )
    assert manifest.dropped["beyond its weight"] > 0


def test_mixing_leaves_validation_as_it_is_and_repeats_only_when_told(two, tmp_path):
    shards(two, tmp_path / "all", unit="line")
    shards(two, tmp_path / "once", unit="line", weights=[0.8, 0.2])
    shards(two, tmp_path / "more", unit="line", weights=[0.8, 0.2], max_repeats=3)
    assert samples(tmp_path / "all", "val") == samples(tmp_path / "once", "val")
    assert samples(tmp_path / "all", "val") == samples(tmp_path / "more", "val")
    counts = {name: Counter(samples_of(tmp_path / name)) for name in ("all", "once", "more")}
    assert max(counts["once"].values()) == 1
    assert max(counts["more"].values()) == 3
    assert counts["once"].keys() <= counts["all"].keys()
    sizes = domain_bytes(tmp_path / "more")
    assert sizes["web"] / sizes.total() == pytest.approx(0.8, abs=3e-3)


def samples_of(out: Path) -> list[str]:
    return [text for text, _ in samples(out, "train")]


def test_a_yaml_file_names_the_domains(two, tmp_path):
    mix = "prose: {path: books, weight: 3}\nchatter: {path: web, weight: 1}\n"
    shards(write(tmp_path / "mix.yaml", mix), tmp_path / "out", unit="line")
    sizes = domain_bytes(tmp_path / "out")
    assert sizes["prose"] / sizes.total() == pytest.approx(0.75, abs=2e-3)
    assert Manifest.load(tmp_path / "out" / "train").source == "prose, chatter"


MIXES = [
    ("- a", "names no domains"),
    ("a: {pth: x}", "must be {path: ..., weight: ...}"),
    ("a: {path: web, weight: much}", "weight 'much'; write a number"),
    ("a: {path: web, weight: 0}", "weights must be positive"),
    ("a: {path: web, weight: 1}\nb: {path: books}", "a weight but not all"),
    ("a: [", "is no YAML"),
    ("a: {path: nowhere}", "nowhere does not exist"),
]
WRONG = [
    (["--source", "empty"], "no usable documents (dropped: 1 empty file); check the source"),
    (["--source", "empty_folder"], "holds no .arrow, .gz, .jsonl, .parquet, .txt among its 0"),
    (["--source", "binary.txt"], "no usable documents (dropped: 1 binary file)"),
    (["--source", "latin.txt"], "no usable documents (dropped: 1 not UTF-8)"),
    (["--source", "giant.txt"], "no usable documents (dropped: 1 too long)"),
    (["--source", "giant.txt", "--unit", "file"], "no usable documents (dropped: 1 too long)"),
    (["--source", "giant.txt", "--unit", "caption"], "no usable samples (dropped: 1 too long)"),
    (["--source", "blank.txt"], "no usable documents (dropped: 3 empty)"),
    (["--source", "a.jsonl", "--field", "body"], "(dropped: 2 no text under 'body'); check the"),
    (["--source", "paper.pdf"], "holds no .arrow, .gz, .jsonl, .parquet, .txt among its 1 files"),
    (["--source", "missing"], "missing does not exist"),
    (["--source", "one.txt"], "only 1 usable document was found but a split by hash needs 2"),
    (["--source", "one.txt", "--val=tail", "--val_fraction=0.99"], "8 characters cannot be cut at"),
    (["--source", "web", "web"], "two sources are called web; name them in a .yaml file"),
    (["--source", "web", "books", "--weights", "1"], "1 weights were given for 2 sources"),
    (["--source", "web", "books", "--weights", "1", "0"], "books has the weight 0 but weights"),
    (["--source", "web", "--weights", "1", "--val", "tail"], "cannot be weighed; leave out"),
    (["--source", "web", "--near", "1.5"], "near is 1.5 but must lie between 0 and 1"),
    (["--source", "web", "--languages", "klingon"], "language klingon is not known"),
    (["--source", "web", "--terms", "missing"], "missing does not exist"),
    (["--source", "web", "--rules.lines", "2"], "rules.lines is 2.0 but must lie in 0 to 1"),
    (["--source", "web", "--shortest", "9", "--longest", "3"], "1 <= shortest <= longest"),
    (["--source", "web", "--max_repeats", "0"], "max_repeats is 0 but must be at least 1"),
    (["--source", "web", "--max_repeats", "2"], "max_repeats is 2 but without weights nothing"),
    (["--source", "web", "--val_fraction", "1"], "val_fraction is 1.0 but must lie between 0 and"),
    (["--source", "web", "--unit", "caption", "--near", "0.8"], "captions take no near; for doc"),
    (["--source", "web", "books", "--unit", "caption"], "captions take no several sources"),
    (["--source", "web", "--unit", "page"], "unit"),
]  # fmt: skip


def fails_in_one_line(argv: list[str], message: str, capsys) -> None:
    before = sorted(Path().rglob("*"))
    unit = [] if "--unit" in argv else ["--unit", "line"]
    with pytest.raises(SystemExit) as stop:
        command(shards, quoted_lists([*argv, *unit, "--out", "out"], LISTS, alone=("--source",)))
    assert stop.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error:"))
    assert message in line
    assert sorted(Path().rglob("*")) == before


@pytest.fixture
def desk(two, tmp_path, monkeypatch) -> Path:
    """A folder to work in, with sources that are of no use."""
    write(tmp_path / "empty" / "a.txt", "")
    (tmp_path / "empty_folder").mkdir()
    write(tmp_path / "binary.txt", b"\x7fELF\0\0\1")
    write(tmp_path / "latin.txt", "déjà".encode("latin-1"))
    write(tmp_path / "giant.txt", b"x" * 41_000_000)
    write(tmp_path / "blank.txt", " \n\n\t")
    records(tmp_path / "a.jsonl", [{"text": "a"}, {"text": "b"}])
    write(tmp_path / "paper.pdf", "pdf")
    write(tmp_path / "one.txt", "just one")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("argv", "message"), WRONG)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(desk, argv, message, capsys):
    fails_in_one_line(argv, message, capsys)


@pytest.mark.parametrize(("mix", "message"), MIXES)
def test_a_mix_that_makes_no_sense_is_one_line_and_leaves_nothing(two, tmp_path, monkeypatch, mix,
                                                                  message, capsys):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mix.yaml", mix)
    fails_in_one_line(["--source", "mix.yaml"], message, capsys)


@pytest.mark.parametrize(
    ("package", "options"),
    [("datasketch", ["--near", "0.8"]), ("py3langid", ["--languages", "en"]), ("pyarrow", [])],
)
def test_a_package_of_the_extra_that_is_missing_is_named(
    desk, monkeypatch, package, options, capsys
):
    from text.corpus import language

    language._identifier.cache_clear()
    write(desk / "b.parquet", b"PAR1")
    monkeypatch.setitem(sys.modules, package, None)
    source = "b.parquet" if package == "pyarrow" else "web"
    fails_in_one_line(["--source", source, *options], "the extra corpus", capsys)


@pytest.mark.parametrize(
    ("place", "name"),
    [("s3://bucket/books/", "books"), ("a/input.txt", "input"), ("v1.5/web", "web"),
     ("web/v1.5", "v1.5"), ("b.jsonl.gz", "b"), ("https://host/c.parquet", "c")],
)  # fmt: skip
def test_a_domain_is_named_after_its_place(place, name):
    assert domains(place)[0].name == name
