"""Claims about conversations as packed rows of tokens."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.cli import guard
from core.manifest import Manifest
from core.members import decode_npy
from core.shards import ShardReader
from text.chat_template import Message, Told, tell
from text.conversations import ROW, conversations, pack
from text.model import TextConfig, TextModel
from text.tokenizer import TextTokenizer
from text.windows import IGNORE

CODEC = TextTokenizer.train(["abcdefghijklmnopqrstuvwxyz 0123456789"], kind="char", chat=True)
TALKS = [[("user", f"ask {n} " + "a" * (n % 9)), ("assistant", "b" * (n % 5))] for n in range(60)]


def line(talk) -> str:
    return json.dumps({"messages": [{"role": role, "content": said} for role, said in talk]})


def write(folder: Path, lines: list[str]) -> tuple[Path, str]:
    (folder / "chats.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "tokenizer.json").write_text(CODEC.json)
    return folder / "chats.jsonl", str(folder / "tokenizer.json")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("chats")
    long = [("user", "x" * 50), ("assistant", "y")]
    silent = [("user", "nothing")]
    lines = [*map(line, TALKS), "", line(long), line(silent), line(TALKS[0])]
    conversations(*write(folder, lines), folder / "out", context=48, val_fraction=0.2)
    return folder / "out"


def rows(folder: Path) -> np.ndarray:
    reader = ShardReader(folder)
    return np.stack([decode_npy(reader.read(i)[ROW]).numpy() for i in range(len(reader))])


def told(talk) -> Told:
    return tell([Message(role, said) for role, said in talk], CODEC)


def unpacked(folder: Path) -> list[tuple[list[int], list[int]]]:
    """Return inputs and targets of each conversation in the rows."""
    found = []
    for tokens, targets, numbers in rows(folder):
        for number in range(1, numbers.max() + 1):
            here = numbers == number
            found.append((tokens[here].tolist(), targets[here].tolist()))
    return found


def test_every_conversation_is_whole_in_one_split_with_the_assistants_tokens_to_learn(built):
    expected = []
    for one in map(told, TALKS):
        pairs = zip(one.ids[1:], one.learned[1:], strict=True)
        expected.append((one.ids[:-1], [i if learned else IGNORE for i, learned in pairs]))
    assert sorted(unpacked(built / "train") + unpacked(built / "val")) == sorted(expected)


def test_padding_is_no_conversation_and_is_not_learned(built):
    tokens, targets, numbers = np.moveaxis(rows(built / "train"), 1, 0)
    assert (targets[numbers == 0] == IGNORE).all()
    assert (tokens[numbers == 0] == CODEC.pad).all()


def test_what_was_left_out_is_counted(built):
    manifest = Manifest.load(built / "train")
    assert manifest.dropped == {
        "longer than the context": 1,
        "without an answer": 1,
        "duplicate": 1,
    }
    held = [Manifest.load(built / split).fields["conversations"] for split in ("train", "val")]
    assert sum(held) == len(TALKS)
    assert min(held) > 0
    assert manifest.fields["filled"] > 0.8


def test_a_conversation_of_the_contexts_length_fits_and_one_token_more_does_not():
    one = told([("user", "ab"), ("assistant", "cd")])
    assert pack([one], len(one.ids) - 1).filled == len(one.ids) - 1
    with pytest.raises(AssertionError):
        pack([one], len(one.ids) - 2)


def test_a_conversation_in_a_row_gets_the_logits_that_it_gets_alone():
    torch.manual_seed(0)
    model = TextModel(TextConfig(16, 2, 2, context=64, vocabulary=len(CODEC), prefix=0))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    talks = [told(talk) for talk in TALKS[:3]]
    row = torch.from_numpy(pack(talks, 64).rows[0]).long()
    together = model(row[None, 0], documents=row[None, 2])[0]
    for number in range(1, 4):
        here = row[2] == number
        alone = model(row[None, 0, here])[0]
        torch.testing.assert_close(together[here], alone, rtol=1e-4, atol=1e-4)


def test_the_same_file_gives_the_same_bytes_and_another_seed_another_order(built, tmp_path):
    source = write(tmp_path, [line(talk) for talk in TALKS])
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        conversations(*source, tmp_path / name, context=48, seed=seed)
    a, b, c = (Manifest.load(tmp_path / name / "train") for name in "abc")
    assert a.dataset_id == b.dataset_id
    assert a.shards != c.shards


BAD = {
    "no JSON": (["{"], {}, "chats.jsonl, line 1: it is no JSON"),
    "no messages": (['{"text": "a"}'], {}, "line 1: it has no list"),
    "its keys": (['{"text": "a"}'], {}, "its keys are text"),
    "a role": ([line([("narrator", "a")])], {}, "line 1: message 1 has no role among user"),
    "turns out of order": (
        [line(TALKS[0]), line(TALKS[0][1:])],
        {},
        "(dropped: 1 with turns out of order)",
    ),
    "one conversation": ([line(TALKS[0])], {}, "1 usable conversations were found"),
    "a share": ([line(TALKS[0])], {"val_fraction": 1.0}, "val_fraction is 1.0"),
    "a context": ([line(TALKS[0])], {"context": 2}, "context is 2"),
    "no context": ([line(TALKS[0])], {"context": None}, "has no context; give --context"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_mistake_is_one_line_and_exit_code_2(kind, tmp_path, capsys):
    lines, options, reason = BAD[kind]
    options = {"context": 48} | options
    with pytest.raises(SystemExit) as stop:
        guard(lambda: conversations(*write(tmp_path, lines), tmp_path / "out", **options))
    assert stop.value.code == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert reason in error
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_without_a_chats_tokens_is_refused(tmp_path):
    source, _ = write(tmp_path, [line(TALKS[0])])
    plain = tmp_path / "plain.json"
    plain.write_text(TextTokenizer.train([], kind="byte").json)
    with pytest.raises(ValueError, match="--chat true"):
        conversations(source, str(plain), tmp_path / "out", context=48)
