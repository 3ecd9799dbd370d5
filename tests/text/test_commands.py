"""Claims about the commands of the text package."""

import json

import pytest

from text.tokenizer import TextTokenizer
from text.train_tokenizer import shard_texts, train_tokenizer


def test_a_tokenizer_is_learned_from_shards(tiny_world, tmp_path):
    train_tokenizer(str(tiny_world / "train"), str(tmp_path), vocabulary=280)
    learned = TextTokenizer((tmp_path / "tokenizer.json").read_text())
    assert len(learned) == 280
    assert len(learned.encode("seven")) < len("seven")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "tokenizer.json"]


@pytest.mark.parametrize("kind", ["bpe", "char", "byte"])
def test_what_a_tokenizer_makes_of_the_texts_lies_beside_it(tiny_world, tmp_path, kind):
    train_tokenizer(str(tiny_world / "train"), str(tmp_path), kind=kind, chat=True)
    learned = TextTokenizer((tmp_path / "tokenizer.json").read_text())
    report = json.loads((tmp_path / "report.json").read_text())
    texts = list(shard_texts(str(tiny_world / "train")))
    ids = [number for text in texts for number in learned.encode(text)]
    assert learned.special["<|system|>"] == 3
    assert report["bytes_a_token"] == sum(map(len, texts)) / len(ids)
    assert report["used_share"] == len(set(ids)) / len(learned)
    assert report["tokenizer"] == learned.digest


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no dataset"):
        train_tokenizer(str(tmp_path), str(tmp_path))
