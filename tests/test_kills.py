"""SIGKILL at any moment costs nothing but the steps since the last checkpoint."""

import json
import subprocess
import sys

import pytest

from tests.training import TRAINERS


def survive(trainer, kills, world, out):
    """Run the harness in a process that never trained, as only such a one may fork."""
    argv = ["--trainer", trainer, "--kills", str(kills), "--world", str(world), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills", *argv], capture_output=True, text=True, check=False
    )
    logs = "".join(path.read_text()[-2000:] for path in out.glob("*.log"))
    assert done.returncode == 0, done.stderr[-2000:] + logs
    return json.loads(done.stdout.splitlines()[-1])


def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_been(tiny_world, tmp_path):
    counts = survive("image", 6, tiny_world, tmp_path)
    assert counts["kills"] == counts["anywhere"] + counts["writing"] + counts["renaming"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_survives_all_kills(trainer, tiny_world, tmp_path):
    kills = 100 if trainer in ("image", "text") else 20
    counts = survive(trainer, kills, tiny_world, tmp_path)
    assert counts["writing"] + counts["renaming"] >= kills / 4
    print(trainer, counts)
