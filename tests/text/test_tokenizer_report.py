"""Claims about the report on tokenizers."""

import json
from pathlib import Path

import pytest

from text.tokenizer import TextTokenizer
from text.tokenizer_files import write_tokenizer
from text.tokenizer_report import report

LANGUAGES = {
    "en": "Seven birds sat on the old wall.\nNobody had asked them to.\n",
    "de": "Sieben Vögel saßen auf der alten Mauer.\nNiemand hatte sie darum gebeten.\n",
    "el": "Επτά πουλιά κάθισαν στον παλιό τοίχο.\nΚανείς δεν τους το ζήτησε.\n",  # noqa: RUF001
    "ru": "Семь птиц сидели на старой стене.\nИх никто об этом не просил.\n",  # noqa: RUF001
    "hi": "सात पक्षी पुरानी दीवार पर बैठे थे।\n",
    "zh": "七只鸟停在旧墙上。\n没有人叫它们来。\n",
    "ar": "جلست سبعة طيور على الجدار القديم.\n",
}


@pytest.fixture
def texts(tmp_path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for tongue, text in LANGUAGES.items():
        (folder / f"{tongue}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def byte(tmp_path) -> str:
    path = tmp_path / "byte.json"
    write_tokenizer(TextTokenizer.train([], None, "byte"), path)
    return str(path)


def test_a_byte_is_a_token_in_every_language(texts, byte, tmp_path, capsys):
    report([byte], [texts], out=tmp_path / "out.json")
    rows = json.loads((tmp_path / "out.json").read_text())["rows"][byte]
    assert list(rows) == sorted(LANGUAGES)
    for tongue, facts in rows.items():
        assert facts["bytes"] == facts["tokens"] == len(LANGUAGES[tongue].encode())
    assert rows["en"]["words"] == 12
    assert rows["en"]["fertility"] == len(LANGUAGES["en"].encode()) / 12
    assert rows["zh"]["words"] == 15
    assert rows["zh"]["characters_a_token"] < 0.4 < rows["en"]["characters_a_token"]
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(LANGUAGES)


def test_a_language_that_was_learned_needs_fewer_tokens_a_word(texts, byte, tmp_path):
    learned = str(tmp_path / "learned.json")
    write_tokenizer(TextTokenizer.train([LANGUAGES["el"]] * 3, 400), Path(learned))
    report([learned, byte], [texts / "el.txt", texts / "ru.txt"], out=tmp_path / "out.json")
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert rows[learned]["el"]["fertility"] < 3 < rows[learned]["ru"]["fertility"]
    assert rows[learned]["el"]["bytes_a_token"] > rows[byte]["el"]["bytes_a_token"] == 1


def test_lines_of_json_say_their_language(texts, byte, tmp_path):
    lines = [{"language": k, "text": text} for k, text in LANGUAGES.items()]
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report([byte], [file], out=tmp_path / "a.json")
    report([byte], [texts], out=tmp_path / "b.json")
    a, b = (json.loads((tmp_path / f"{name}.json").read_text())["rows"][byte] for name in "ab")
    for tongue in LANGUAGES:
        assert a[tongue]["bytes_a_token"] == b[tongue]["bytes_a_token"]
        assert a[tongue]["words"] == b[tongue]["words"]


@pytest.mark.parametrize(
    "line", ['{"text": "a"}', '{"text": 3, "language": "en"}', "[]", "{", "\xff"]
)
def test_a_line_without_text_or_language_is_named(byte, tmp_path, line):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b'{"text": "a", "language": "en"}\n' + line.encode("latin-1"))
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 2: .*under 'language' and 'text'"):
        report([byte], [file])
