"""Claims about conversations in the layouts that data sets have."""

import json
from collections import Counter
from pathlib import Path

import pytest

from core.cli import command, plain_options
from core.manifest import Manifest
from core.outcome import FLAGS
from text.chat_records import Unusable, messages_of, read_records
from text.chat_template import Message
from text.conversations import conversations
from text.tokenizer import TextTokenizer

ASKED = [Message("user", "two and two?"), Message("assistant", "four")]
TOLD = [Message("system", "be brief"), *ASKED]
TURNS = [{"role": "user", "content": "two and two?"}, {"role": "assistant", "content": "four"}]
SHAREGPT = [{"from": "human", "value": "two and two?"}, {"from": "gpt", "value": "four"}]
PARTS = [
    {"role": "user", "content": [{"type": "text", "text": "two "}, {"text": "and two?"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "four"}]},
]
LAYOUTS = {
    "messages": ({"messages": TURNS}, ASKED),
    "a list alone": (TURNS, ASKED),
    "sharegpt": ({"id": "a", "conversations": SHAREGPT}, ASKED),
    "sharegpt, system column": ({"system": "be brief", "conversations": SHAREGPT}, TOLD),
    "sharegpt, system turn": (
        {"conversations": [{"from": "system", "value": "be brief"}, *SHAREGPT]},
        TOLD,
    ),
    "conversation": ({"conversation": TURNS}, ASKED),
    "parts": ({"messages": PARTS}, ASKED),
    "nulls": ({"messages": [turn | {"tool_calls": None, "from": None} for turn in TURNS]}, ASKED),
    "alpaca": ({"instruction": "two and two?", "input": "", "output": "four"}, ASKED),
    "dolly": ({"instruction": "two and two?", "context": "", "response": "four"}, ASKED),
    "prompt, completion": ({"prompt": "two and two?", "completion": "four"}, ASKED),
    "prompt, response": ({"prompt": "two and two?", "response": "four"}, ASKED),
    "question, answer": ({"question": "two and two?", "answer": "four"}, ASKED),
    "input, output": ({"input": "two and two?", "output": "four"}, ASKED),
    "trl": ({"prompt": TURNS[:1], "completion": TURNS[1:]}, ASKED),
    "preference": ({"prompt": "two and two?", "chosen": "four", "rejected": "five"}, ASKED),
    "preference of turns": ({"prompt": "two and two?", "chosen": TURNS}, ASKED),
    "a number": ({"question": "two and two?", "answer": 4}, [ASKED[0], Message("assistant", "4")]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_record_of_a_known_layout_gives_its_messages(layout):
    record, messages = LAYOUTS[layout]
    assert messages_of(record) == messages


def test_an_instruction_stands_before_what_it_is_about():
    record = {"instruction": "Add these.", "input": "2 and 2", "output": "4"}
    assert messages_of(record)[0].content == "Add these.\n\n2 and 2"


UNUSABLE = {
    "with the turns of tools": [
        {"messages": [TURNS[0], {"role": "tool", "content": "4"}]},
        {"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": [{}]}]},
        {"conversations": [SHAREGPT[0], {"from": "observation", "value": "4"}]},
    ],
    "with turns out of order": [
        {"conversations": SHAREGPT[::-1]},
        {"messages": [*TURNS, TURNS[1]]},
    ],
    "with parts that are no text": [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
    ],
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_a_conversation_that_cannot_be_told_has_a_reason(reason):
    for record in UNUSABLE[reason]:
        with pytest.raises(Unusable, match=reason):
            messages_of(record)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"text": "a"}, "its keys are text"),
        ("a", "no record"),
        ({"messages": []}, "no list"),
        ({"messages": ["a"]}, "message 1 is 'a'"),
        ({"messages": [{"role": "narrator", "content": "a"}]}, "'narrator'"),
        ({"messages": [{"role": "user", "content": "a\0"}]}, "zero character"),
    ],
)
def test_a_record_that_is_no_conversation_is_the_users_mistake(record, told):
    with pytest.raises(ValueError, match=told):
        messages_of(record)


def written(folder: Path, suffix: str, encoding: str = "utf-8") -> Path:
    """Write three conversations in a format."""
    records = [{"conversations": [SHAREGPT[0], {"from": "gpt", "value": f"é {n}"}]} for n in "123"]
    path = folder / f"chats{suffix}"
    if suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(records), path)
    elif suffix == ".jsonl":
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        path.write_bytes("\r\n".join(lines).encode(encoding))
    else:
        path.write_text(json.dumps(records, indent=2))
    return path


def answers(source: Path) -> list[str]:
    found = [messages_of(record) for _, record in read_records(source, Counter())]
    return [messages[-1].content for messages in found]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_lines_lists_and_tables_hold_the_same(suffix, tmp_path):
    assert answers(written(tmp_path, suffix)) == ["é 1", "é 2", "é 3"]
    assert answers(tmp_path) == ["é 1", "é 2", "é 3"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding(encoding, tmp_path):
    assert answers(written(tmp_path, ".jsonl", encoding)) == ["é 1", "é 2", "é 3"]


def test_lines_may_hold_odd_separators_and_be_called_json(tmp_path):
    record = {"prompt": "a", "completion": "b\u2028c\x85d"}
    text = json.dumps(record, ensure_ascii=False)
    (tmp_path / "chats.json").write_text(f"{text}\n{text}\n", encoding="utf-8")
    assert answers(tmp_path / "chats.json") == ["b\u2028c\x85d"] * 2


def test_a_saved_data_set_is_read_without_its_own_files(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [{"question": f"{n}?", "answer": str(n)} for n in range(3)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    assert answers(tmp_path / "saved") == ["0", "1", "2"]


def build(tmp_path: Path, records, *words: str) -> None:
    tokenizer = TextTokenizer.train(["abc?0123456789"], kind="char", chat=True)
    (tmp_path / "tokenizer.json").write_text(tokenizer.json)
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    argv = ["--source", str(tmp_path / "chats.jsonl"), "--out", str(tmp_path / "out"),
            "--tokenizer", str(tmp_path / "tokenizer.json"), "--context", "32", *words]  # fmt: skip
    command(conversations, plain_options(argv, flags=FLAGS))


MIXED = [{"question": f"{n}?", "answer": str(n)} for n in range(8)] + UNUSABLE[
    "with the turns of tools"
]


def test_what_cannot_be_told_is_counted_and_named_in_the_last_line(tmp_path, capsys):
    build(tmp_path, MIXED)
    last = capsys.readouterr().out.splitlines()[-1]
    assert "8 samples of 11 inputs; dropped 3: 3 with the turns of tools (" in last
    dropped = Manifest.load(tmp_path / "out" / "train").dropped
    assert dropped == {"with the turns of tools": 3}


def test_strict_makes_that_an_error_and_writes_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        build(tmp_path, MIXED, "--strict")
    assert stop.value.code == 2
    assert "3 with the turns of tools" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_long_conversations_name_the_option_that_keeps_them(tmp_path, capsys):
    build(
        tmp_path,
        [*MIXED[:8], {"question": "1" * 40, "answer": "2"}, MIXED[0] | {"answer": "a" * 40}],
    )
    assert "2 longer than the context (a larger --context" in capsys.readouterr().out
