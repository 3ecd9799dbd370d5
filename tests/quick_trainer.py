"""A trainer that takes the options and leaves the files of a real one, without its seconds.

    python -m tests.quick_trainer --x=1.5 --steps=4 --out FOLDER

Its loss falls towards (x - 2)² + y as steps go by.
"""

import argparse
import csv
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from core.files import new_file

Rows = list[dict[str, float]]


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message):
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)


def main() -> None:
    """Read the options, and train."""
    parser = Parser(allow_abbrev=False)
    parser.add_argument("--config", action="append", type=Path, default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--x", type=float, default=0.0)
    parser.add_argument("--net.y", dest="y", type=float, default=0.0)
    parser.add_argument("--mode", default="plain", choices=["plain", "crash", "diverge", "nan"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--until", type=Path, help="a file that the third step waits for")
    for config in parser.parse_args().config:
        parser.set_defaults(**dict(flat(yaml.safe_load(config.read_text()), parser)))
    Run(parser.parse_args()).train()


def flat(config: dict[str, Any], parser: Parser, group: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the options of a configuration by the parser's names."""
    known = {option: a.dest for a in parser._actions for option in a.option_strings}
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, parser, f"{group}{key}.")
        elif f"--{group}{key}" in known:
            yield known[f"--{group}{key}"], value
        else:
            parser.error(f"{group}{key} is no option")


class Run:
    """Steps, each with a validation and a checkpoint."""

    def __init__(self, told: argparse.Namespace):
        self.told, self.rows, self.asked = told, [], False
        signal.signal(signal.SIGTERM, self._note)
        if told.resume:
            self.rows = json.loads(told.resume.read_text())
        told.out.mkdir(parents=True, exist_ok=True)
        with (told.out / "starts.txt").open("a") as file:
            file.write(f"{len(self.rows)} {os.environ.get('OMP_NUM_THREADS')}\n")

    def _note(self, number: int, _: FrameType | None) -> None:
        self.asked = True

    def train(self) -> None:
        """Train to the end, or leave where it is asked to."""
        while len(self.rows) < self.told.steps:
            time.sleep(self.told.pause)
            while len(self.rows) >= 2 and not self.asked and not self._may_go_on():
                time.sleep(0.02)
            self._step(len(self.rows) + 1)
            if self.asked:
                raise SystemExit(128 + signal.SIGTERM)

    def _may_go_on(self) -> bool:
        return self.told.until is None or self.told.until.exists()

    def _step(self, step: int) -> None:
        if self.told.mode == "crash" and step == 2:
            raise RuntimeError("the network fell over")
        if self.told.mode == "diverge" and step == 2:
            print("error: the gradient of step 2 is not finite", file=sys.stderr)
            raise SystemExit(2)
        loss = (self.told.x - 2) ** 2 + self.told.y + 1 / step
        value = float("nan") if self.told.mode == "nan" else loss
        self.rows.append({"step": step, "train/loss": loss, "val/loss": value})
        self._write("progress.json", json.dumps({"step": step}))
        with new_file(self.told.out / "metrics.csv") as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        self._write("last.ckpt", json.dumps(self.rows))

    def _write(self, name: str, text: str) -> None:
        with new_file(self.told.out / name) as path:
            path.write_text(text)


if __name__ == "__main__":
    main()
