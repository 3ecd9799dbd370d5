"""Claims about token shards."""

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.checkpoint import AtomicCheckpointIO, describe
from core.cli import command, guard
from core.manifest import Manifest
from core.members import decode_npy
from core.shards import ShardReader, write_shards
from text.model import TextConfig
from text.module import TextModule
from text.tokenizer import TextTokenizer
from text.tokenizer_files import check_written_with, read_tokenizer
from text.tokens import cut, tokens

SPLITS = {
    "train": [
        "To be,\n or not\tto be",
        "",
        "grün 七 <eos>",
        *(f"line {n}\n" * 9 for n in range(40)),
    ],
    "val": ["never seen: Ж 🙂", "\0"],
}


def write_documents(folder: Path, splits: dict[str, list[str]]) -> Path:
    for split, texts in splits.items():
        samples = [{"__key__": f"{i:03d}", "txt": t.encode()} for i, t in enumerate(texts)]
        about = {"source": "plays", "licence": "none"}
        write_shards(folder / split, samples, required=["txt"], per_shard=7, **about)
    return folder


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> Path:
    return write_documents(tmp_path_factory.mktemp("documents"), SPLITS)


def stream(folder: Path) -> np.ndarray:
    reader = ShardReader(folder)
    return np.concatenate([piece(reader, i) for i in range(len(reader))])


def piece(reader: ShardReader, position: int) -> np.ndarray:
    return decode_npy(reader.read(position)["tokens.npy"]).numpy()


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@given(st.lists(st.lists(st.integers(0, 9))), st.integers(2, 7))
def test_pieces_in_a_row_are_the_streams_and_only_the_last_is_shorter(streams, size):
    cuts = list(cut((np.array(s, dtype=np.uint16) for s in streams), size))
    assert [n for one in cuts for n in one.tolist()] == [n for s in streams for n in s]
    assert all(len(one) == size for one in cuts[:-1])
    assert all(0 < len(one) <= size for one in cuts[-1:])


@pytest.mark.parametrize("kind", ["bpe", "char", "byte"])
def test_the_stream_is_every_document_between_begin_and_end(documents, tmp_path, kind):
    tokens(str(documents), kind, tmp_path / "out", piece=50)
    codec = read_tokenizer(tmp_path / "out" / "tokenizer.json")
    for split, texts in SPLITS.items():
        found = stream(tmp_path / "out" / split)
        assert found.tolist() == [n for text in texts for n in codec.document(text)]
        assert found.dtype == np.uint16
        ends = np.flatnonzero(found == codec.eos)
        parts = np.split(found, ends + 1)[:-1]
        assert [codec.decode(part.tolist()) for part in parts] == texts


def test_the_manifest_counts_what_was_written(documents, tmp_path):
    tokens(str(documents), "char", tmp_path / "out", piece=50)
    written = (tmp_path / "out" / "tokenizer.json").read_bytes()
    for split, texts in SPLITS.items():
        manifest = Manifest.load(tmp_path / "out" / split)
        total = len(stream(tmp_path / "out" / split))
        assert manifest.samples == -(-total // 50)
        assert manifest.fields == {
            "tokens": total,
            "piece": 50,
            "vocabulary": len(read_tokenizer(tmp_path / "out" / "tokenizer.json")),
            "documents": len(texts),
            "bytes": sum(len(text.encode()) for text in texts),
            "characters": sum(map(len, texts)),
            "used": len(set(stream(tmp_path / "out" / split).tolist()) - {1, 2}),
            "tokenizer": hashlib.sha256(written).hexdigest(),
        }
        assert (manifest.source, manifest.licence) == ("plays", "none")
        assert manifest.builder["of"] == Manifest.load(documents / split).dataset_id


def test_the_tokenizer_is_learned_from_the_training_documents_alone(documents, tmp_path):
    tokens(str(documents), "char", tmp_path / "out")
    known = read_tokenizer(tmp_path / "out" / "tokenizer.json").vocabulary
    assert "七" in known
    assert "Ж" not in known


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_writes_the_same_bytes(documents, tmp_path, workers):
    tokens(str(documents), "bpe", tmp_path / "one", piece=64)
    tokens(str(documents), "bpe", tmp_path / "other", piece=64, workers=workers)
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_a_tokenizer_that_was_learned_is_taken_from_its_file(documents, tmp_path):
    tokens(str(documents), "bpe", tmp_path / "learned", vocabulary=300, chat=True)
    file = tmp_path / "learned" / "tokenizer.json"
    tokens(str(documents), str(file), tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == file.read_bytes()
    assert read_tokenizer(file).special["<|end|>"] == 6
    for split in SPLITS:
        assert (
            stream(tmp_path / "out" / split).tolist()
            == stream(tmp_path / "learned" / split).tolist()
        )
    with pytest.raises(ValueError, match="leave --vocabulary and --chat out"):
        tokens(str(documents), str(file), tmp_path / "more", vocabulary=400)


def test_more_than_65536_tokens_need_four_bytes_each(documents, tmp_path):
    many = TextTokenizer.train([chr(n) for n in range(0x10000, 0x20000)] + ["a"], None, "char")
    (tmp_path / "tokenizer.json").write_text(many.json, encoding="utf-8")
    tokens(str(documents), str(tmp_path / "tokenizer.json"), tmp_path / "out")
    found = stream(tmp_path / "out" / "val")
    assert len(many) > 65536
    assert found.dtype == np.uint32
    assert found.max() > 65535
    assert many.decode(found[: found.tolist().index(2)].tolist()) == SPLITS["val"][0]


def test_memory_does_not_grow_with_the_documents(tmp_path):
    peaks = []
    for count in (40, 400):
        texts = [f"{number:08d}" * 500 for number in range(count)]
        folder = write_documents(tmp_path / f"{count}", {"train": texts, "val": texts[:1]})
        tracemalloc.start()
        tokens(str(folder), "byte", tmp_path / f"out{count}", piece=8192)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 1.4 MB of text more, and 2.9 MB of tokens.
    assert peaks[1] - peaks[0] < 0.4e6


def test_another_tokenizer_than_the_shards_is_refused(documents, tmp_path):
    tokens(str(documents), "char", tmp_path / "out")
    own = read_tokenizer(tmp_path / "out" / "tokenizer.json")
    fields = Manifest.load(tmp_path / "out" / "train").fields
    check_written_with(own, fields, tmp_path)
    with pytest.raises(
        ValueError, match=r"\(248 tokens\) but the model's is \w{12} \(263 tokens\)"
    ):
        check_written_with(TextTokenizer.train(["a" * 9], 512), fields, tmp_path)
    with pytest.raises(ValueError, match="holds no tokens"):
        check_written_with(own, {}, tmp_path)


def test_a_tokenizer_that_does_not_match_is_one_line_and_exit_code_2(documents, tmp_path, capsys):
    tokens(str(documents), "char", tmp_path / "out")
    fields = Manifest.load(tmp_path / "out" / "train").fields
    other = TextTokenizer.train([], None, "byte")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        guard(lambda: check_written_with(other, fields, tmp_path / "out"))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tokenizer", "chars"], "neither bpe, char, byte nor a file"),
        (["--tokenizer", "byte", "--piece", "1"], "piece is 1"),
        (["--tokenizer", "bpe", "--vocabulary", "9"], "at least 259"),
        (["--tokenizer", "no/tokenizer.json"], "neither bpe, char, byte nor a file"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(documents, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stop:
        command(tokens, ["--shards", str(documents), "--out", str(tmp_path / "out"), *options])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_document_that_is_not_utf_8_is_named(tmp_path):
    folder = write_documents(tmp_path / "documents", {"val": ["a"]})
    bad = [{"__key__": "bad", "txt": b"\xff"}]
    write_shards(folder / "train", bad, required=["txt"], source="", licence="")
    with pytest.raises(ValueError, match=r"sample bad is not UTF-8 \(byte 0\)"):
        tokens(str(folder), "byte", tmp_path / "out")


def test_the_tokenizer_of_a_checkpoint_writes_shards_that_fit_it(documents, tmp_path):
    module = TextModule(TextConfig(width=16, depth=1, heads=1, vocabulary=300))
    checkpoint = {"state_dict": module.state_dict(), "unison": describe(module)}
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "young.ckpt")
    with pytest.raises(ValueError, match="holds no tokenizer"):
        read_tokenizer(tmp_path / "young.ckpt")
    module.codec.use(TextTokenizer.train(SPLITS["train"], 300))
    checkpoint = {"state_dict": module.state_dict(), "unison": describe(module)}
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    tokens(str(documents), str(tmp_path / "last.ckpt"), tmp_path / "out")
    fields = Manifest.load(tmp_path / "out" / "train").fields
    check_written_with(module.codec.tokenizer, fields, tmp_path / "out")


def foreign(folder: Path, config: dict | None) -> Path:
    """Write a tokenizer as it comes from elsewhere: one special token, at the end."""
    layout = json.loads(TextTokenizer.train([], None, "byte").json)
    rows = [name for name in layout["model"]["vocab"] if not name.startswith("<")] + ["<", "<|e|>"]
    layout["model"]["vocab"] = {name: i for i, name in enumerate(rows)}
    end = layout["added_tokens"][0] | {"id": len(rows) - 1, "content": "<|e|>"}
    layout["added_tokens"] = [end]
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(layout), encoding="utf-8")
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("config", "roles"),
    [
        (None, (256, 256, None)),
        ({"eos_token": "<|e|>", "bos_token": None}, (None, 256, None)),
        ({"eos_token": {"content": "<|e|>"}, "pad_token": "<|e|>"}, (None, 256, 256)),
    ],
)
def test_a_tokenizer_from_elsewhere_tells_its_roles(tmp_path, documents, config, roles):
    path = foreign(tmp_path, config)
    found = read_tokenizer(path)
    assert (found.bos, found.eos, found.pad) == roles
    tokens(str(documents), str(path), tmp_path / "out")
    again = read_tokenizer(tmp_path / "out" / "tokenizer.json")
    assert again.roles == found.roles
    expected = [n for text in SPLITS["val"] for n in found.document(text)]
    assert stream(tmp_path / "out" / "val").tolist() == expected


def test_a_role_that_names_no_token_is_an_error(tmp_path):
    path = foreign(tmp_path, {"eos_token": "</s>"})
    with pytest.raises(ValueError, match="names '</s>' as eos_token"):
        read_tokenizer(path)
