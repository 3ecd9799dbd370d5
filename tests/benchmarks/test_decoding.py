"""What the decoding benchmark compares is the same model."""

import pytest
import torch

from benchmarks.decoding import (
    check_agreement,
    decoding,
    models,
    our_tokens,
    their_tokens,
)


@pytest.fixture(scope="module")
def pair():
    return models("0.8M", 40, torch.float32)


def test_both_models_are_the_same_function(pair):
    check_agreement(*pair, 1e-4)
    with pytest.raises(ValueError, match="logits differ"):
        check_agreement(*pair, 1e-9)


def test_both_write_the_same_tokens(pair):
    ids = torch.randint(96, (3, 8))
    assert torch.equal(our_tokens(pair[0], ids, 12), their_tokens(pair[1], ids, 12))


def test_each_system_is_a_row(tmp_path, capsys):
    out = tmp_path / "rows.json"
    decoding(("0.8M",), (2,), ("float32",), (1,), tokens=4, prompt=3, repeats=1, out=out)
    rows = [line for line in capsys.readouterr().out.splitlines() if "0.8M" in line]
    names = ["transformers", "ours", "ours, C++", "ours, int8"]
    assert [row.split("|")[5].strip() for row in rows] == names
    assert out.read_text().count('"median"') == 4
