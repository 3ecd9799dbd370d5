"""Kill a training run again and again, resume it, and compare it with an undisturbed one.

    python -m tests.kills --trainer image --kills 100 --world FOLDER --out FOLDER

A parent that has imported everything, and never trained, forks each run: a kill costs a second.
"""

import argparse
import io
import json
import os
import random
import signal
import time
import traceback
from pathlib import Path

import torch

import core.saving
from core.checkpoint import read_checkpoint
from tests.training import TRAINERS, assert_same

OPTIONS = (
    "--trainer.max_steps=14", "--model.optim.schedule.decay=0", "--save_every=1", "--keep=2",
    "--trainer.val_check_interval=5", "--trainer.log_every_n_steps=1", "--samples=2",
)  # fmt: skip
PARTS = ("state_dict", "ema", "optimizer_states", "lr_schedulers", "global_step")
MOMENTS = ("anywhere", "writing", "renaming")


def main() -> None:
    """Run, kill, compare; print what came out as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trainer", choices=list(TRAINERS), required=True)
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    torch.set_num_threads(1)
    harness = Harness(told.trainer, told.world, told.out, told.seed)
    print(json.dumps(harness.run(told.kills)))


class Harness:
    """Runs of one trainer, most of which do not end well."""

    def __init__(self, trainer: str, world: Path, out: Path, seed: int):
        self.trainer, self.world, self.out = TRAINERS[trainer], world, out
        self.random = random.Random(seed)
        self.counts = dict.fromkeys(MOMENTS, 0)

    def run(self, kills: int) -> dict[str, int]:
        """Kill so many runs, and let each go on to its end; return counts."""
        whole, runs = self.out / "whole", 0
        started = time.monotonic()
        assert self._fork(whole, lambda: None) == 0
        self.seconds = time.monotonic() - started
        while sum(self.counts.values()) < kills:
            broken = self.out / f"broken{runs}"
            while sum(self.counts.values()) < kills and self._kill(broken):
                self._check(broken)
            assert self._fork(broken, lambda: None) == 0
            compare(broken, whole)
            runs += 1
        return {"kills": kills, "runs": runs, **self.counts}

    def _kill(self, out: Path) -> bool:
        """Start or resume a run and kill it at some moment; False if it came to its end."""
        moment = self.random.choice(MOMENTS)
        if moment == "anywhere":
            status = self._fork(out, lambda: None, self.random.uniform(0, self.seconds))
        else:
            after, share = self.random.randint(1, 6), self.random.random()
            arm = arm_writing if moment == "writing" else arm_renaming
            status = self._fork(out, lambda: arm(after, share))
        if status == 0:
            return False
        assert status == -signal.SIGKILL, f"the run ended with {status}; see {out}.log"
        self.counts[moment] += 1
        return True

    def _fork(self, out: Path, arm, kill_after: float | None = None) -> int:
        """Train in a child; return its exit status, negative for a signal."""
        child = os.fork()
        if not child:
            train_and_exit(self.trainer, self.world, out, arm)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _check(self, out: Path) -> None:
        """Raise if a checkpoint that was there is lost, or one that is there cannot be read."""
        told = out / "saved.txt"
        saved = int(told.read_text().split()[-1]) if told.exists() else 0
        last = out / "last.ckpt"
        step = read_checkpoint(last, self.trainer.name)["global_step"] if last.exists() else 0
        assert step >= saved, f"step {saved} was saved but the checkpoint is of step {step}"
        for path in (*out.glob("*.ckpt"), *out.glob("steps/*.ckpt")):
            if not path.name.startswith("."):
                read_checkpoint(path, self.trainer.name)


def train_and_exit(trainer, world: Path, out: Path, arm) -> None:
    """Train, in a child that never returns; each finished save is told in saved.txt."""
    code = 1
    try:
        out.mkdir(parents=True, exist_ok=True)
        log = os.open(f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        tell_saves(out / "saved.txt")
        arm()
        last = out / "last.ckpt"
        trainer.run(world, out, *OPTIONS, *([f"--resume={last}"] if last.exists() else []))
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def tell_saves(path: Path) -> None:
    """Note the step of every save that came to its end."""
    save = core.saving.Saver.save

    def told(self, trainer) -> None:
        save(self, trainer)
        with path.open("a") as file:
            file.write(f"{trainer.global_step}\n")

    core.saving.Saver.save = told


def arm_writing(after: int, share: float) -> None:
    """Die in the `after`-th checkpoint when a share of its bytes is written."""
    write, count = torch.save, iter(range(1, 1_000_000))

    def save(checkpoint, file) -> None:
        if next(count) < after:
            return write(checkpoint, file)
        whole = io.BytesIO()
        write(checkpoint, whole)
        file.write(whole.getvalue()[: int(share * whole.tell())])
        file.flush()
        return os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save


def arm_renaming(after: int, share: float) -> None:
    """Die just before or just after the `after`-th checkpoint takes its name."""
    replace, count = Path.replace, iter(range(1, 1_000_000))

    def dying(self, target):
        mine = Path(target).suffix == ".ckpt" and next(count) == after
        if mine and share < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        found = replace(self, target)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    Path.replace = dying


def compare(ours: Path, theirs: Path) -> None:
    """Raise unless two runs left the same: parameters, averages, moments, metrics, samples."""
    a, b = (read_checkpoint(path / "last.ckpt") for path in (ours, theirs))
    for part in (*PARTS, next(key for key in b if key.endswith("Data"))):
        assert_same(a[part], b[part], part)
    assert (ours / "metrics.csv").read_text() == (theirs / "metrics.csv").read_text(), ours
    samples = [
        sorted(p for p in path.glob("samples/**/*") if p.is_file()) for path in (ours, theirs)
    ]
    for mine, other in zip(*samples, strict=True):
        assert mine.name == other.name
        assert mine.read_bytes() == other.read_bytes(), mine


if __name__ == "__main__":
    main()
