"""Write report.html: one file that shows what a run can do, and opens from disk; plots beside it.

python -m multimodal.report --run runs/quickstart
python -m multimodal.report --run runs/quickstart --grid docs/grid.png
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.cli import command
from core.files import existing_file, new_file
from multimodal import report_html as html
from multimodal.examples import Examples, load_batches, load_examples
from multimodal.report_agreement import NOTE, agreement_tables
from multimodal.report_baselines import NOTE as BASELINES_NOTE
from multimodal.report_baselines import baseline_table
from multimodal.report_charts import Curve, read_curves
from multimodal.report_emergent import NOTE as EMERGENT_NOTE
from multimodal.report_emergent import emergent_table
from multimodal.report_plots import save_plots

SCRIPT = """
let playing;
document.querySelectorAll('.sound').forEach(button => button.onclick = () => {
  playing?.pause();
  playing = new Audio(button.dataset.sound);
  button.classList.add('playing');
  playing.onended = playing.onpause = () => button.classList.remove('playing');
  playing.play();
});
"""


def report(run: Path = Path("runs/quickstart"), grid: Path | None = None) -> None:
    """Render the report of a run that was evaluated.

    Args:
        run: Folder with report.json and evaluate/examples.
        grid: Also write the 4x4 grid of examples as a picture there.
    """
    write_report(run)
    if grid is not None:
        from multimodal.report_grid import save_grid

        save_grid(load_examples(run / "evaluate" / "examples"), grid)


def publish(run: Path) -> None:
    """Make the newest evaluation the run's report; preset and seconds of the run stay as known."""
    path = run / "report.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    kept = {name: known[name] for name in ("preset", "seconds") if name in known}
    newest = json.loads(existing_file(run / "evaluate" / "report.json").read_text())
    with new_file(path) as partial:
        partial.write_text(json.dumps(kept | newest | measured_beside(run), indent=1) + "\n")
    write_report(run)


def measured_beside(run: Path) -> dict[str, Any]:
    """Return what `multimodal.baselines` and `emergent` measured, if it was of the run's models."""
    found = {}
    for name in ("baselines", "emergent"):
        path = run / f"{name}.json"
        known = json.loads(path.read_text()) if path.is_file() else {}
        if known.get("models") == models_id(run):
            found[name] = known
    return found


def models_id(run: Path) -> str:
    """Return a hash of the run's checkpoints: what measurements belong together."""
    found = hashlib.sha256()
    for path in sorted(run.glob("*/last.ckpt")):
        found.update(path.parent.name.encode() + path.read_bytes())
    return found.hexdigest()


def write_report(run: Path) -> Path:
    """Write <run>/report.html and <run>/plots from report.json, stages.json, examples and logs.

    Returns:
        The page's path.
    """
    numbers = json.loads(existing_file(run / "report.json").read_text())
    save_plots(numbers, run / "plots")
    stages = run / "stages.json"
    costs = json.loads(stages.read_text()) if stages.is_file() else []
    logs = {path.name: read_curves(path) for path in sorted(run.iterdir()) if path.is_dir()}
    curves = {name: lines for name, lines in logs.items() if lines}
    examples = load_examples(run / "evaluate" / "examples")
    tried = load_batches(run / "evaluate" / "files") if "files" in numbers else {}
    page = render(numbers, costs, examples, tried, curves)
    with new_file(run / "report.html") as path:
        path.write_text(page, encoding="utf-8")
    return run / "report.html"


def render(
    numbers: Mapping[str, Any],
    stages: list[Mapping[str, Any]],
    examples: Examples,
    tried: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, Curve]],
) -> str:
    """The whole page."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    body = "".join(_sections(numbers, stages, examples, tried, curves))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Unison: report</title><style>{css}</style></head>"
        f"<body><main>{_header(numbers)}{body}</main><script>{SCRIPT}</script></body></html>\n"
    )


def _header(numbers: Mapping[str, Any]) -> str:
    facts = [f"{numbers['split']} split", f"{numbers['n']} sources a direction"]
    if "preset" in numbers:
        facts.append(f"preset {numbers['preset']}")
    if "total" in numbers.get("seconds", {}):
        facts.append(f"{html.duration(numbers['seconds']['total'])} from nothing to this page")
    return (
        '<p class="brand">Unison</p><h1>Any of four from any of four</h1>'
        f'<p class="lede">{" · ".join(facts)}</p><div class="tiles">{html.tiles(numbers)}</div>'
    )


def _sections(
    numbers: Mapping[str, Any],
    stages: list[Mapping[str, Any]],
    examples: Examples,
    tried: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, Curve]],
) -> list[str]:
    measured = {
        part.key: _section(part.title, part.note(numbers[part.key]), part.content(numbers))
        for part in PARTS
        if part.key in numbers
    }
    return [
        _section(
            "The matrix",
            "Large: strict over reference. Sources down, targets across; the dashed diagonal is a"
            " variation of the source and stands apart.",
            f'<div class="scroll">{html.matrix(numbers)}</div><details><summary>Every factor, size,'
            f" latency and throughput</summary>{html.direction_table(numbers)}</details>",
        ),
        _section(
            "Seen and heard",
            "The first sources drawn of each modality, not the best, and what the run made of them."
            " The four outputs of a row were sampled together. Press a spectrogram to hear it.",
            f'<div class="scroll">{html.directions_grid(examples)}</div>',
        ),
        _section(
            "From nothing",
            _agreement(numbers["joint"]),
            f'<div class="scroll">{html.joint_grid(examples)}</div>{html.joint_table(numbers)}',
        ),
        _files(numbers["files"], tried) if "files" in numbers else "",
        *measured.values(),
        _section("Training", "Loss by step.", html.charts(curves)) if curves else "",
        _section("What it cost", "", html.stage_table(stages)) if stages else "",
        _section("How each number is defined", "", html.definitions()),
        f"<footer>Data set {numbers['dataset'][:12]} · seed {numbers['seed']}</footer>",
    ]


@dataclass(frozen=True)
class Part:
    """A section that the page has if its numbers were measured."""

    key: str
    """Name of the numbers in the report."""
    title: str
    """Its heading."""
    note: Callable[[Any], str]
    """What stands below the heading, told from the part's own numbers."""
    content: Callable[[Mapping[str, Any]], str]
    """Its tables, from the whole report."""


def _always(note: str) -> Callable[[Any], str]:
    return lambda _: note


PARTS: tuple[Part, ...] = (
    Part("one_to_rest", "One to the rest",
         _always("The three others made from one source agree with it, and with one another about"
                 " what it leaves open."),
         html.rest_table),
    Part("queries", "Asked in part",
         _always("A query says a part, the outputs must show it, agree about the rest, and leave"
                 " it as open as it is in training."),
         lambda numbers: html.query_tables(numbers["queries"])),
    Part("composition", "Unseen combinations",
         lambda found: f"{found['n']} sources of each modality whose digit never met that colour,"
                       " or that motion, in training.",
         html.composition_table),
    Part("diversity", "Coverage of the real",
         _always("On reader features; beside each figure, the same for other real signals."),
         html.diversity_table),
    Part("spread", "Repeated",
         _always("The same with other sources and other noise; the deviation is that of a"
                 " repetition."),
         html.spread_table),
    Part("readers", "The readers",
         _always("Accuracy on real signals of this split; size as rank correlation."),
         html.reader_table),
    Part("baselines", "What each part buys",
         lambda found: f"{BASELINES_NOTE} {found['n']} sources a direction, {found['split']}"
                       " split.",
         lambda numbers: f'<div class="scroll">'
                         f'{baseline_table(numbers["baselines"]["systems"])}</div>'),
    Part("emergent", "Never paired",
         lambda found: f"{EMERGENT_NOTE} {found['n']} sources a direction, {found['split']} split.",
         lambda numbers: emergent_table(numbers["emergent"]["stars"])),
    Part("agreement", "Read twice", _always(NOTE), agreement_tables),
    Part("probes", "What an embedding knows",
         _always("Linear probes of each factor on validation embeddings of unseen handwriting and"
                 " voices: what a generator could draw at best."),
         lambda numbers: html.probe_table(numbers["probes"])),
    Part("space", "The shared space",
         _always("Embeddings alone, nothing generated: who finds whom among real samples, what the"
                 " nearest word says, how far apart the modalities lie, and whether words can be"
                 " added."),
         lambda numbers: html.space_tables(numbers["space"])),
)  # fmt: skip
"""The sections between the examples and the training curves, in the page's order."""


def _agreement(joint: Mapping[str, Any]) -> str:
    low, high = joint["ci95"]
    return (
        f"{html.share(joint['unconditional'])} of {joint['n']} samples drawn from nothing agree in"
        " every factor that two or more modalities carry"
        f" (95 %: {html.share(low)} to {html.share(high)});"
        f" of real tuples, as read, {html.share(joint['reference'])} do."
    )


def _files(trials: list[Mapping[str, Any]], tried: Mapping[str, Mapping[str, Any]]) -> str:
    right = [ok for trial in trials for ok in (trial["right"] or {}).values()]
    note = (
        "Files made by other tools than the world's, first as they were read: other fonts and pens,"
        " another voice, other sentences. Below each output, what its reader reads there:"
        f" {sum(right)} of {len(right)} show what the file shows. One sample each, the first drawn."
    )
    return _section(
        "From elsewhere", note, f'<div class="scroll">{html.files_grid(trials, tried)}</div>'
    )


def _section(title: str, note: str, content: str) -> str:
    lead = f'<p class="lede">{note}</p>' if note else ""
    return f"<section><h2>{title}</h2>{lead}{content}</section>"


if __name__ == "__main__":
    command(report)
