"""Write a run's numbers into the README, each beside the command that measured it.

python -m multimodal.readme --run runs/quickstart
python -m multimodal.readme --run runs/quickstart --seeds runs/seed1 runs/seed2
"""

import inspect
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from core.cli import command, plain_options
from core.errors import UserError
from core.files import existing_file, new_file
from core.manifest import Manifest
from multimodal.compare import load_alike, load_report
from multimodal.evaluate import evaluate
from multimodal.report_agreement import headline_rows, reader_rows
from multimodal.report_baselines import COLUMNS, baseline_row, beyond_floor
from multimodal.report_emergent import COLUMNS as STAR_COLUMNS
from multimodal.report_emergent import emergent_rows
from multimodal.stages import Preset, stages
from multimodal.tuples import MODALITIES

BEGIN, END = "<!-- results -->", "<!-- /results -->"
SUMMARY = {
    "ratio_mean": "strict over reference, mean of the twelve cross directions",
    "ratio_min": "strict over reference, the lowest of the twelve",
    "strict_mean": "strict, mean of the twelve cross directions",
    "strict_min": "strict, the lowest of the twelve",
    "diagonal_mean": "strict on the diagonal (variations), mean",
    "size_ratio_mean": "size: rank correlation over its reference, mean of the twelve",
}


def fill_readme(
    run: Path = Path("runs/quickstart"),
    readme: Path = Path("README.md"),
    keep: Path = Path("docs/quickstart.json"),
    seeds: tuple[Path, ...] = (),
    yardsticks: tuple[Path, ...] = (),
) -> None:
    """Replace what stands between the results markers by the tables of a run.

    Args:
        run: Folder with report.json.
        readme: File with the markers.
        keep: Copy of the report that the tables are of, so that a test can tell when they differ.
        seeds: Runs on the same world that differ in the seed of training: mean and deviation over
            them and `run` go beside its numbers.
        yardsticks: Runs on worlds of other handwriting or voices, for a table of their own.
    """
    report = load_report(run)
    if seeds:
        others = load_alike([run, *seeds])
        report["training_seeds"] = [shown_numbers(other) for other in others]
    if yardsticks:
        report["yardsticks"] = [_yardstick(other) for other in yardsticks]
    text = existing_file(readme).read_text(encoding="utf-8")
    filled = fill(text, results(report, run), str(readme))
    with new_file(keep) as partial:
        partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with new_file(readme) as partial:
        partial.write_text(filled, encoding="utf-8")
    print(f"{readme}: results of {run}")


def fill(text: str, content: str, name: str = "the text") -> str:
    """Return the text with `content` between its markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"{name} needs one {BEGIN} and behind it one {END}; put them back")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}"


def results(report: Mapping[str, Any], run: Path) -> str:
    """Return all tables of a run as Markdown."""
    measure = _measure(report, run)
    parts = [
        f"Measured on the {report['split']} split, {report['n']} sources a direction (data set"
        f" {report['dataset'][:12]}, seed {report['seed']}); intervals, factors, latency and every"
        " definition stand in `report.html`.",
        _headline(report, measure),
        f"Strict over reference by direction, strict itself in brackets, by `{measure}`:",
        _table(["from \\ to", *MODALITIES], _matrix(report)),
    ]
    if "baselines" in report:
        parts += _baselines(report["baselines"], run)
    if "emergent" in report:
        parts += _emergent(report["emergent"], run)
    if "yardsticks" in report:
        parts += _yardsticks(report["yardsticks"])
    if "agreement" in report:
        parts += _read_twice(report, measure)
    if "seconds" in report:
        parts.append(_table(["stage", "time", "command"], _times(report, run)))
    return "\n\n".join(parts)


def _measure(report: Mapping[str, Any], run: Path) -> str:
    """Return the command that measured a report, without what is its default."""
    known = {name: p.default for name, p in inspect.signature(evaluate).parameters.items()}
    asked = {"run": run, "split": report["split"], "n": report["n"], "seed": report["seed"]}
    if "composition" in report:
        asked["unseen"] = report["composition"]["n"]
    options = [f" --{name} {value}" for name, value in asked.items() if value != known[name]]
    return "python -m multimodal.evaluate" + "".join(options)


def shown_numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the headline numbers of a report, under the names that tables call them."""
    shown = {label: report["summary"][key] for key, label in SUMMARY.items()}
    joint = report["joint"]
    shown["joint samples from nothing that agree in all modalities"] = joint["unconditional"]
    shown["the same of real tuples, as read"] = joint["reference"]
    rest = [row["ratio"] for row in report["one_to_rest"].values()]
    shown["one to the other three, all agree, over that of real tuples, mean"] = fmean(rest)
    far = max(beyond_floor(report))
    shown["open factors: largest total variation from training's, above its floor"] = far
    if "composition" in report:
        unseen = report["composition"]["summary"]
        shown["unseen combinations: strict over reference, mean of the twelve"] = unseen[
            "ratio_mean"
        ]
        shown["unseen combinations: the lowest of the twelve"] = unseen["ratio_min"]
    spreads = [row for row in report["diversity"].values() if row.get("frechet_real")]
    if spreads:
        farthest = max(row["frechet"] / row["frechet_real"] for row in spreads)
        shown["Fréchet distance over that of other real signals, the largest of four"] = farthest
    for modality, recall in report["recall"].items():
        shown[f"recall of real signals, {modality}"] = recall
    return shown


def _headline(report: Mapping[str, Any], measure: str) -> str:
    """The headlines; with further training seeds, mean and standard deviation over all of them."""
    rows = [[label, _share(value)] for label, value in shown_numbers(report).items()]
    head, repeated = ["number", "value"], report.get("training_seeds", [])
    if repeated:
        head += [f"mean of {len(repeated)} training seeds", "deviation"]
        for row in rows:
            values = [numbers[row[0]] for numbers in repeated]
            row += [_share(fmean(values)), _share(stdev(values))]
    return _table([*head, "command"], [[*row, f"`{measure}`"] for row in rows])


def _matrix(report: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    for source in MODALITIES:
        cells = (report["directions"][f"{source}->{target}"] for target in MODALITIES)
        yield source, *(f"{_share(cell['ratio'])} ({_share(cell['strict'])})" for cell in cells)


def _read_twice(report: Mapping[str, Any], measure: str) -> list[str]:
    """The second readers, which are of another kind, beside the first."""
    both = ([label, _share(one), _share(other)] for label, one, other in headline_rows(report))
    rows = ([*names, *map(_share, numbers)] for *names, numbers in reader_rows(report))
    head = ["reader", "factor", "first", "second", "agree on real", "on generated", "on joint"]
    return [
        "The same by second readers of another kind (gradients, histograms, phase correlation,"
        " cepstra, counts of words), and how well both read real signals and agree, by"
        f" `{measure}`:",
        _table(["number", "first readers", "second readers"], both),
        _table(head, rows),
    ]


def _baselines(known: Mapping[str, Any], run: Path) -> list[str]:
    """What each part of the whole buys."""
    rows = ([name, *baseline_row(system)] for name, system in known["systems"].items())
    asked = f"--run {run} --split {known['split']} --n {known['n']}"
    return [
        f"What each part buys, {known['n']} sources a direction, by `python -m multimodal.rivals"
        f" --run {run}` and `python -m multimodal.baselines {asked}` (definitions in"
        " `report.html`):",
        _table(["system", *COLUMNS], rows),
    ]


def _emergent(known: Mapping[str, Any], run: Path) -> list[str]:
    """What appears between modalities that were never paired."""
    anchors = " ".join(known["stars"])
    return [
        "Never-paired directions of towers and prior that saw pairs with the anchor only, beside"
        f" the run itself, {known['n']} sources a direction, by `python -m multimodal.emergent"
        f" --run {run} --anchors {anchors} --split {known['split']} --n {known['n']}`:",
        _table(["anchor", "direction", *STAR_COLUMNS], emergent_rows(known["stars"])),
    ]


def _yardstick(run: Path) -> dict[str, Any]:
    """Return what a run on another world reached, and which world that is."""
    report = load_report(run)
    world = Manifest.load(run / "world" / report["split"]).builder["world"]
    kept = {name: report.get(name) for name in ("split", "n", "seed", "dataset", "seconds")}
    read = {
        f"real {modality}, as read: strict": row["strict"]
        for modality, row in report["readers"].items()
    }
    return kept | {"world": world, "numbers": shown_numbers(report) | read}


def _yardsticks(known: Sequence[Mapping[str, Any]]) -> list[str]:
    """The headlines of runs on other handwriting and voices, a column each."""
    worlds = [_world_options(row["world"]) for row in known]
    listed = ", ".join(f'`make quickstart WORLD="{world}"`' for world in worlds)
    labels = [
        label for label in known[0]["numbers"] if all(label in row["numbers"] for row in known)
    ]
    rows = [[label, *(_share(row["numbers"][label]) for row in known)] for label in labels]
    return [
        f"The same code on other handwriting and recorded voices ({known[0]['split']} split,"
        f" {known[0]['n']} sources a direction), by {listed}:",
        _table(["number", *(f"`{world}`" for world in worlds)], rows),
    ]


def _world_options(world: Mapping[str, Any]) -> str:
    names = ("digits", "speech", "fold")
    return " ".join(f"--{name} {world[name]}" for name in names if name in world)


def _times(report: Mapping[str, Any], run: Path) -> Iterable[Sequence[str]]:
    seconds, preset = report["seconds"], report.get("preset", "cpu")
    commands = _stage_commands(run, preset)
    for name, command_line in commands.items():
        if name in seconds:
            yield name, _duration(seconds[name]), f"`{command_line}`"
    whole = "`make quickstart`" if preset == "cpu" else f"`make quickstart PRESET={preset}`"
    yield "training, two stages side by side", _duration(seconds["train"]), whole
    yield "everything, start to report", _duration(seconds["total"]), whole


def _stage_commands(run: Path, preset: Preset) -> dict[str, str]:
    return {
        stage.name: " ".join(["python -m", *stage.command(run / stage.name, False)[2:]])
        for stage in stages(run, preset, smoke=False)
    }


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(value: float) -> str:
    return f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


if __name__ == "__main__":
    command(fill_readme, plain_options(sys.argv[1:], lists=("--seeds", "--yardsticks")))
