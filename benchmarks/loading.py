"""Samples a second of our loader, of webdataset's WebLoader and of litdata, on the same pictures.

    python -m benchmarks.loading --shards data/world/train --workers 0 2 --litdata venv/bin/python

All decode by the same function and give batches of one size; ours and webdataset's shuffle within a
window of 4,096 samples, litdata's in its own way. Ours keeps nothing decoded (--data.cache=false).
litdata reads its own format, which the first measurement writes beside the shards; it wants an
environment with our packages and litdata.
"""

import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from core.cli import command, plain_options
from core.errors import UserError
from core.shards import ShardReader


def loading(
    shards: Path, workers: tuple[int, ...] = (0, 2), repeats: int = 5, litdata: Path | None = None
) -> None:
    """Measure the loaders in turn, each time in a fresh process, and print a table.

    Args:
        shards: Dataset with pictures.
        workers: Numbers of worker processes.
        repeats: Measurements of each; the table has median, least and most.
        litdata: Python of the environment that has litdata; without it there is no such row.
    """
    pythons = {"ours": Path(sys.executable), "webdataset": Path(sys.executable)}
    if litdata is not None:
        if not litdata.is_file():
            raise UserError(f"{litdata} is not there; name the python of an environment")
        pythons["litdata"] = litdata
    print("| workers | loader | median samples/s | least | most | ours over it, median |")
    print("|---|---|---|---|---|---|")
    for count in workers:
        found = measured(shards, count, repeats, pythons)
        for name, rates in found.items():
            ratios = [a / b for a, b in zip(found["ours"], rates, strict=True)]
            numbers = (statistics.median(rates), min(rates), max(rates))
            line = " | ".join(f"{rate:,.0f}" for rate in numbers)
            print(f"| {count} | {name} | {line} | {statistics.median(ratios):.2f} |", flush=True)


def measured(
    shards: Path, workers: int, repeats: int, pythons: Mapping[str, Path], batch: int = 64
) -> dict[str, list[float]]:
    """Return each loader's samples a second; they take turns, so that noise meets all alike."""
    rates: dict[str, list[float]] = {name: [] for name in pythons}
    samples, least = len(ShardReader(shards)), 2 * batch * max(workers, 1)
    if samples < least:  # the first batch of each worker is not timed
        raise UserError(
            f"{shards} holds {samples} samples but {least} fill two batches for each worker; name"
            " a larger dataset with --shards"
        )
    for _ in range(repeats):
        for name, python in pythons.items():
            words = ["--loader", name, "--shards", str(shards), "--workers", str(workers)]
            words += ["--batch", str(batch)]
            done = subprocess.run(
                [str(python), "-m", "benchmarks.loaders", *words],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
                raise UserError(f"the loader {name} failed ({last}); run it alone to see more")
            rates[name].append(float(done.stdout.split()[-1]))
    return rates


if __name__ == "__main__":
    command(loading, plain_options(sys.argv[1:], lists=["--workers"]))
