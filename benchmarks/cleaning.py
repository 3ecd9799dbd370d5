"""How fast one worker cleans documents, with each part of the cleaning that can be asked for.

python -m benchmarks.cleaning --source input.txt
"""

import statistics
import time
from pathlib import Path

from core.cli import command
from text.corpus.cleanse import Cleaning, Work, cleanse
from text.corpus.documents import Layout, Unit, parts_of


def cleaning(source: Path, unit: Unit = "paragraph", times: int = 5) -> None:
    """Print MB a second of one file, in one process: the median of several measurements in turn.

    Args:
        source: A file of text.
        unit: What a document is.
        times: Measurements of each.
    """
    work = [Work("all", part) for part in parts_of(source, Layout(unit))]
    cleanings = {
        "rules": Cleaning(),
        "rules and languages": Cleaning(languages=("en",)),
        "rules and signatures (near duplicates)": Cleaning(near=0.8),
    }
    rates: dict[str, list[float]] = {name: [] for name in cleanings}
    for turn in range(times + 1):  # the first loads what is needed
        for name, chosen in cleanings.items():
            seconds = _seconds(work, unit, chosen)
            if turn:
                rates[name].append(source.stat().st_size / 1e6 / seconds)
    print("| cleaning | MB/s, median | least | most |\n|---|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):.2f} | {min(found):.2f} | {max(found):.2f} |")


def _seconds(work: list[Work], unit: Unit, chosen: Cleaning) -> float:
    """Return the processor's seconds, which other programs do not add to."""
    start = time.process_time()
    for one in work:
        cleanse(one, Layout(unit), chosen)
    return time.process_time() - start


if __name__ == "__main__":
    command(cleaning)
