"""Claims about the commands of the text package."""

import pytest

from text.tokenizer import TextTokenizer
from text.train_tokenizer import train_tokenizer


def test_a_tokenizer_is_learned_from_shards(tiny_world, tmp_path):
    train_tokenizer(str(tiny_world / "train"), str(tmp_path), vocabulary=280)
    learned = TextTokenizer((tmp_path / "tokenizer.json").read_text())
    assert len(learned) == 280
    assert len(learned.encode("seven")) < len("seven")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no dataset"):
        train_tokenizer(str(tmp_path), str(tmp_path))
