"""Claims about the benchmark of tuning."""

from pathlib import Path

import pytest

from benchmarks.tuning import BEFORE, WAYS, table, tuning

ROW = {"loss": 1.5, "weights": 1000, "right": 0.0, "add": 0.0}


def test_the_table_has_means_and_deviations_over_seeds():
    after = [ROW | {"loss": loss, "right": right} for loss, right in ((1.0, 0.4), (3.0, 0.6))]
    head, _, before, tuned = table({BEFORE: [ROW], "full": after}).splitlines()
    assert head == "| tuning | seeds | weights that learn | right | add | loss on the corpus |"
    assert before == "| before | 1 | 1,000 | 0.000 | 0.00 | 1.500 |"
    assert tuned == "| full | 2 | 1,000 | 0.500 ± 0.141 | 0.00 | 2.000 ± 1.414 |"


def test_a_way_that_is_none_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match="'half' is no way of tuning; there are full"):
        tuning(Path("last.ckpt"), Path("corpus"), tmp_path, [0], ways=["full", "half"])
    assert not list(tmp_path.iterdir())
    assert len(WAYS) == 4
