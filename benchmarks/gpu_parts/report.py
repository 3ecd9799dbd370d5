"""The results of `benchmarks.gpu` as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = {
    "samples_per_second": "samples/s",
    "tokens_per_second": "tokens/s",
    "mfu": "MFU",
    "peak_memory_mb": "peak memory, MiB",
    "loss_start": "first loss",
    "loss_end": "last loss",
    "steps": "steps",
}
MEASURED = ("samples_per_second", "tokens_per_second", "mfu", "peak_memory_mb")
"""Columns that only mean something on a GPU, at the presets' own sizes."""
NOT_MEASURED = "not measured"


def markdown(
    about: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], parts: Sequence[str]
) -> str:
    """Return two tables, of presets and of everything else; what was not run says so.

    Args:
        about: Device, versions, date, and whether this is the smoke form.
        results: Part -> its outcome.
        parts: All parts there are, in order.
    """
    head = f"{about['device']}, torch {about['torch']}, commit {about['commit']}, {about['date']}."
    if about["smoke"]:
        head += " Smoke form: tiny sizes on a CPU, which measure nothing."
    lines = [head, "", _row(["preset", *COLUMNS.values(), "note"]), _rule(len(COLUMNS) + 2)]
    lines += [_preset(part, results.get(part), about["smoke"]) for part in parts if "/" in part
              and " " not in part]  # fmt: skip
    lines += ["", _row(["part", "result", "seconds"]), _rule(3)]
    lines += [_other(part, results.get(part), about["smoke"]) for part in ("data", *parts)
              if "/" not in part or " " in part]  # fmt: skip
    return "\n".join(lines) + "\n"


def _preset(name: str, outcome: Mapping[str, Any] | None, smoke: bool) -> str:
    if outcome is None or outcome["failure"] is not None:
        note = outcome["failure"] if outcome else ""
        return _row([name, *[NOT_MEASURED] * len(COLUMNS), note])
    numbers = outcome["numbers"]
    cells = [_cell(c, numbers.get(c), hidden=smoke and c in MEASURED) for c in COLUMNS]
    return _row([name, *cells, "trained" if smoke else ""])


def _cell(column: str, value: Any, *, hidden: bool) -> str:
    if value is None or hidden:
        return "" if column == "tokens_per_second" and not hidden else NOT_MEASURED
    match column:
        case "mfu":
            return f"{value:.3f}"
        case "loss_start" | "loss_end":
            return f"{value:.4g}"
        case _:
            return f"{value:,.0f}"


def _other(name: str, outcome: Mapping[str, Any] | None, smoke: bool) -> str:
    if outcome is None:
        return _row([name, NOT_MEASURED, ""])
    numbers = outcome["numbers"]
    if outcome["failure"] is not None:
        said = outcome["failure"]
    elif name == "decoding":
        said = ", ".join(f"{system}: {NOT_MEASURED if smoke else f'{rate} tokens/s'}" if
                         isinstance(rate, float) else f"{system} {rate}"
                         for system, rate in numbers.items())  # fmt: skip
    elif "bitwise" in numbers:
        said = f"bitwise the same, killed after step {numbers['killed_after']}"
    else:
        said = numbers.get("summary", "done")
    return _row([name, said, f"{outcome['seconds']:.0f}"])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(count: int) -> str:
    return "|---" * count + "|"
