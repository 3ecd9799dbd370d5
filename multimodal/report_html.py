"""The parts of report.html, each a function from numbers to markup."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from multimodal.examples import Examples
from multimodal.report_charts import Curve, line_chart
from multimodal.report_media import clip_uri, image_uri, sound_uri, spectrogram_uri
from multimodal.tuples import MODALITIES

RATE, FPS = 8000, 4

DEFINITIONS = {
    "Strict": "Share of generated signals in which every factor that the source determines and the"
    " target carries is read as it is: digit and colour always, motion where both source and target"
    " are text or video.",
    "Reference": "What the same readers score on real signals: the source reader's strict accuracy"
    " times the target reader's, over the same factors. Not a bound: guided samples can be easier"
    " to read than real ones.",
    "Ratio": "Strict over reference.",
    "Interval": "95 % percentile interval of strict by bootstrap over the sources' instances:"
    " handwriting of a picture or clip, voice of a sound, wording of a caption.",
    "Size": "Rank correlation between the size of the source's scene and the size measured in the"
    " target: height in pixels, pitch, size word. Outside strict.",
    "Latency, throughput": "Milliseconds from one source to one target, on its own, median of five;"
    " samples a second in batches of 125. Towers and prior included, files not.",
    "Diagonal": "A variation of the source through the shared space; apart from the cross"
    " directions in every mean.",
    "Joint": "Share of samples generated from nothing in which all four modalities show the same"
    " digit and colour, and text and video the same motion. Its reference is the same share of"
    " real tuples. Total variation is the distance of the labels in joint clips from those in real"
    " ones: a collapse onto few labels would show here.",
    "Recall, precision": "Share of real signals on the manifold of generated ones, and the reverse"
    " (Kynkäänniemi et al. 2019; 3 nearest neighbours), on reader features of unit length;"
    " captions by projected counts of words and word pairs. Beside each, the same figure for other"
    " real signals.",
    "Fréchet distance": "Between Gaussians fitted to the same features, beside real against real.",
    "KID": "Unbiased squared maximum mean discrepancy of the same features under a cubic kernel"
    " (Bińkowski et al. 2018): 0 in the mean for equal distributions.",
    "Nearest in training": "Mean distance to the nearest of 2,000 training signals, in the same"
    " features; far below the figure of real signals would mean copies.",
    "One to the rest": "Share of sources from which the three others are made such that all agree"
    " with the source and, where it leaves a factor open, with one another; beside it, the share of"
    " real tuples whose readings agree.",
    "Unseen combinations": "Strict and its ratio for sources whose digit with its colour, or with"
    " its motion, never occurs in training.",
    "Asked in part": "To a target: share of outputs that show every label that the query determines"
    " and the target carries. All agree: the four outputs name the same labels, the open ones too."
    " Total variation: distance of an open factor, given the determined ones, from its distribution"
    " in training; its floor is what as many draws from that distribution have.",
    "Retrieval": "R@k: the sample's own partner in another modality is among the k nearest. Of"
    " labels: what one would reach who knows only the labels that both carry, ties at random; the"
    " size lets a space do better.",
    "Readers": "Classifiers trained on a split that no generator has seen, with other handwriting"
    " and voices, unlike the towers in architecture and input. Colour and motion are measured from"
    " pixels by plain code, pitch by autocorrelation, captions by an exact parser: unparsable is"
    " wrong.",
    "Read twice": "Accuracy of both readers on the same real signals, and the share of signals of"
    " which both say the same: real ones, those of all sixteen directions, joint ones. The second"
    " readers' ratio has their own reference. A caption that names no label of a factor is"
    " unreadable to them, one that breaks the grammar is not.",
    "Energy": "Read from the machine's counters where it has them, else CPU-seconds times an"
    " assumed power; the source stands beside the number.",
}


def tiles(report: Mapping[str, Any]) -> str:
    """The headline numbers."""
    summary, joint = report["summary"], report["joint"]
    worst = min(_cross(report), key=lambda name: report["directions"][name]["ratio"])
    lowest = min(report["recall"], key=report["recall"].__getitem__)
    shown = [
        (share(summary["ratio_mean"]), "mean of strict over reference, twelve cross directions"),
        (share(summary["ratio_min"]), f"the lowest of them, {worst.replace('->', ' → ')}"),
        (share(summary["diagonal_mean"]), "strict on the diagonal (variations)"),
        (share(joint["unconditional"]), "of joint samples agree in all four modalities"),
        (share(report["recall"][lowest]), f"recall of real signals, lowest: {lowest}"),
    ]
    if "train" in report.get("seconds", {}):
        minutes = report["seconds"]["train"] / 60
        shown.append((f"{minutes:.0f} min", "of training, all stages together"))
    return "".join(f'<div class="tile"><b>{n}</b><span>{label}</span></div>' for n, label in shown)


def matrix(report: Mapping[str, Any]) -> str:
    """Sixteen directions as a heat map: sources down, targets across."""
    head = "".join(f'<th scope="col">{target}</th>' for target in MODALITIES)
    body = ""
    for source in MODALITIES:
        cells = "".join(
            _matrix_cell(report["directions"][f"{source}->{target}"], source == target)
            for target in MODALITIES
        )
        body += f'<tr><th scope="row">from {source}</th>{cells}</tr>'
    return f'<table class="matrix"><thead><tr><td></td>{head}</tr></thead>{body}</table>'


def direction_table(report: Mapping[str, Any]) -> str:
    """The same numbers with every factor, size, latency and throughput."""
    rows = []
    for name, row in report["directions"].items():
        factors = [share(row["factors"].get(f)) for f in ("digit", "colour", "motion")]
        low, high = row["ci95"]
        rows.append(
            [name.replace("->", " → "), str(row["n"]), *factors, share(row["strict"]),
             f"{share(low)}&ndash;{share(high)}", share(row["reference"]), share(row["ratio"]),
             share(row["size"]["correlation"]), share(row["size"]["reference"]),
             number(row.get("latency_ms"), 0), number(row.get("samples_per_s"), 1)]
        )  # fmt: skip
    head = ["direction", "n", "digit", "colour", "motion", "strict", "95 %", "reference", "ratio",
            "size", "size ref.", "ms alone", "samples/s"]  # fmt: skip
    return table(head, rows)


def diversity_table(report: Mapping[str, Any]) -> str:
    """Recall, precision and distances of each modality, real against real beside."""
    pairs = ("recall", "precision", "frechet", "kid", "nearest_training")
    head = ["modality"]
    for name in ("recall", "precision", "Fréchet", "KID", "nearest in training"):
        head += [name, "real"]
    rows = []
    for modality, row in report["diversity"].items():
        cells = [number(row.get(k), 4) for pair in pairs for k in (pair, f"{pair}_real")]
        rows.append([modality, *cells])
    digits = [
        [modality, *map(share, row["recall_by_digit"])]
        for modality, row in report["diversity"].items()
        if "recall_by_digit" in row
    ]
    by_digit = table(["recall of", *map(str, range(10))], digits)
    return f"{table(head, rows)}<details><summary>By digit</summary>{by_digit}</details>"


def rest_table(report: Mapping[str, Any]) -> str:
    """One source to the other three: agreement, and the spread of what was left open."""
    rows = [
        [f"{source} to the rest", str(row["n"]), share(row["agree"]),
         f"{share(row['ci95'][0])}&ndash;{share(row['ci95'][1])}", share(row["reference"]),
         share(row["ratio"])]
        for source, row in report["one_to_rest"].items()
    ]  # fmt: skip
    opened = [
        [source, open_factor, share(values["distance"]), share(values["floor"])]
        for source, row in report["one_to_rest"].items()
        for open_factor, values in row["open"].items()
    ]
    shown = table(["given", "n", "all agree", "95 %", "real tuples", "ratio"], rows)
    spread = table(["given", "open", "total variation", "floor"], opened)
    return f"{shown}<details><summary>What was left open</summary>{spread}</details>"


def spread_table(report: Mapping[str, Any]) -> str:
    """Mean and spread of the headlines over repetitions."""
    rows = [
        [escape(name.replace("_", " ")), share(row["mean"]), share(row["sd"]),
         ", ".join(map(share, row["values"]))]
        for name, row in report["spread"].items()
    ]  # fmt: skip
    return table(["number", "mean", "deviation", "each"], rows)


def composition_table(report: Mapping[str, Any]) -> str:
    """Combinations that training never saw, beside those it saw."""
    seen, unseen = report["directions"], report["composition"]["directions"]
    rows = [
        [name.replace("->", " → "), share(row["strict"]), share(row["ratio"]),
         share(seen[name]["strict"]), share(seen[name]["ratio"])]
        for name, row in unseen.items()
    ]  # fmt: skip
    return table(["direction", "unseen: strict", "ratio", "seen: strict", "ratio"], rows)


def reader_table(report: Mapping[str, Any]) -> str:
    """Accuracy of the readers on real signals of the split."""
    keys = ["digit", "colour", "motion", "strict", "size"]
    rows = [
        [modality, str(row["n"]), *(share(row.get(key)) for key in keys)]
        for modality, row in report["readers"].items()
    ]
    return table(["reader", "n", *keys], rows)


def probe_table(probes: Mapping[str, Mapping[str, float]]) -> str:
    """Accuracy of linear probes on embeddings; size as rank correlation."""
    keys = ["digit", "colour", "motion", "size"]
    rows = [[modality, *(share(row.get(key)) for key in keys)] for modality, row in probes.items()]
    return table(["embedding", *keys], rows)


def query_tables(queries: Mapping[str, Mapping[str, Any]]) -> str:
    """What each kind of query determines, and what it leaves open."""
    rows = [
        [
            name,
            str(row["n"]),
            *(share(row["strict"].get(m)) for m in MODALITIES),
            share(row["agree"]),
        ]
        for name, row in queries.items()
    ]
    opened = [
        [name, modality, factor, share(values["distance"]), share(values["floor"])]
        for name, row in queries.items()
        for modality, factors in row["open"].items()
        for factor, values in factors.items()
    ]
    shown = table(["query", "n", *(f"to {m}" for m in MODALITIES), "all agree"], rows)
    spread = table(["query", "target", "open factor", "total variation", "floor"], opened)
    return f"{shown}<details><summary>What was left open</summary>{spread}</details>"


def space_tables(space: Mapping[str, Any]) -> str:
    """Retrieval, zero-shot labels, gaps and arithmetic."""
    names = list(next(iter(space["retrieval"].values())))
    found = [
        [pair.replace("->", " → "), *(share(row[name]) for name in names)]
        for pair, row in space["retrieval"].items()
    ]
    scores = ("accuracy", "precision", "recall", "f1")
    said = [
        [modality, factor, *(share(row[score]) for score in scores)]
        for modality, factors in space["zero_shot"].items()
        for factor, row in factors.items()
    ]
    gaps = [[pair.replace("-", " to "), share(gap)] for pair, gap in space["gap"].items()]
    sums = [
        [m, share(row["success"]), share(row["without"])] for m, row in space["arithmetic"].items()
    ]
    parts = {
        f"Retrieval among {space['n']} samples": table(["from → to", *names], found),
        "The nearest word (zero-shot)": table(["modality", "factor", *scores], said),
        "Distance between the means": table(["pair", "distance"], gaps),
        "“Red seven” minus “red” plus “blue” is nearest to a blue seven": table(
            ["modality", "success", "without arithmetic"], sums
        ),
    }
    return "".join(f"<h3>{title}</h3>{content}" for title, content in parts.items())


def joint_table(report: Mapping[str, Any]) -> str:
    """Agreement of joint samples by factor, and the distance of their labels from real ones."""
    joint = report["joint"]
    factors = list(joint["factors"])
    rows = [
        ["all agree", *(share(joint["factors"][factor]) for factor in factors)],
        ["total variation", *(share(joint["total_variation"][factor]) for factor in factors)],
    ]
    return table(["", *factors], rows)


def stage_table(stages: Sequence[Mapping[str, Any]]) -> str:
    """What each stage cost."""
    rows = [
        [escape(s["name"]) + (" (done before)" if s.get("skipped") else ""),
         f"{s['parameters']:,}" if s.get("parameters") else "&ndash;", number(s.get("disk_mb")),
         number(s.get("peak_memory_mb"), 0), duration(s.get("seconds") or 0),
         number((s.get("joules") or 0) / 1000, 2), escape(str(s.get("energy_source") or "&ndash;"))]
        for s in stages
    ]  # fmt: skip
    head = ["stage", "parameters", "disk, MB", "peak memory, MB", "time", "energy, kJ", "source"]
    return table(head, rows)


def directions_grid(examples: Examples) -> str:
    """A row a source: what was given, and what each target made of it."""
    head = ["given", "", *(f"to {target}" for target in MODALITIES)]
    cells = [f'<div class="head">{name}</div>' for name in head]
    for source in MODALITIES:
        cells.append(f'<div class="row">From {source}</div>')
        for k in range(len(examples.sources["text"])):
            cells.append(f'<div class="cell source">{_show(source, examples.sources, k)}</div>')
            cells.append('<div class="arrow">→</div>')
            cells += [_cell(target, examples.outputs[source], k) for target in MODALITIES]
    return f'<div class="samples directions">{"".join(cells)}</div>'


def joint_grid(examples: Examples) -> str:
    """A column a joint sample."""
    cells = []
    for modality in MODALITIES:
        cells.append(f'<div class="side">{modality}</div>')
        cells += [_cell(modality, examples.joint, k) for k in range(len(examples.joint["text"]))]
    return f'<div class="samples together">{"".join(cells)}</div>'


def files_grid(trials: Sequence[Mapping[str, Any]], tried: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a file: what was given, and what each target made of it, or the message."""
    cells = [
        f'<div class="head">{name}</div>'
        for name in ["given", "", *(f"to {m}" for m in MODALITIES)]
    ]
    for trial in trials:
        shown = " ".join(trial["labels"].values())
        cells.append(
            f'<div class="row">{escape(trial["name"])} <small>{escape(shown)}</small></div>'
        )
        if trial["message"]:
            cells.append(f'<div class="message">{escape(trial["message"])}</div>')
            continue
        signals = tried[trial["name"]]
        given = SHOW[trial["modality"]](signals["given"][0])
        cells += [f'<div class="cell source">{given}</div>', '<div class="arrow">→</div>']
        for target in MODALITIES:
            said = escape(" ".join(trial["read"][target].values()))
            mark = "right" if trial["right"][target] else "wrong"
            cells.append(
                f'<figure class="cell {mark}">{_show(target, signals, 0)}'
                f"<figcaption>{said}</figcaption></figure>"
            )
    return f'<div class="samples directions">{"".join(cells)}</div>'


def charts(curves: Mapping[str, Mapping[str, Curve]]) -> str:
    """A chart a stage."""
    drawn = (
        f'<div class="chart"><h3>{escape(name)}</h3>{line_chart(lines)}</div>'
        for name, lines in curves.items()
    )
    return f'<div class="charts">{"".join(drawn)}</div>'


def definitions() -> str:
    """How each number is defined."""
    return "<dl>" + "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in DEFINITIONS.items()) + "</dl>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table; cells are markup already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def share(value: float | None) -> str:
    """A number around 0 to 1 with three decimals."""
    return "&ndash;" if value is None else f"{value:.3f}"


def number(value: float | None, decimals: int = 1) -> str:
    """A measured quantity."""
    return "&ndash;" if value is None else f"{value:,.{decimals}f}"


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _cross(report: Mapping[str, Any]) -> list[str]:
    return [name for name in report["directions"] if len(set(name.split("->"))) == 2]


def _matrix_cell(row: Mapping[str, Any], same: bool) -> str:
    heat = round(6 + 52 * max(0.0, min(1.0, (row["ratio"] - 0.3) / 0.7)))
    low, high = row["ci95"]
    return (
        f'<td style="--heat:{heat}%"{" class=same" if same else ""}><b>{row["ratio"]:.2f}</b>'
        f"<small>strict {share(row['strict'])}</small>"
        f"<small>{share(low)} &ndash; {share(high)}</small>"
        f"<small>reference {share(row['reference'])}</small></td>"
    )


def _cell(modality: str, signals: Mapping[str, Any], k: int) -> str:
    return f'<div class="cell">{_show(modality, signals, k)}</div>'


def _show(modality: str, signals: Mapping[str, Any], k: int) -> str:
    return SHOW[modality](signals[modality][k])


def _show_sound(audio: Any) -> str:
    return (
        f'<button class="sound" aria-label="play" data-sound="{sound_uri(audio, RATE)}">'
        f'<img src="{spectrogram_uri(audio)}" alt="spectrogram"></button>'
    )


SHOW: dict[str, Callable[[Any], str]] = {
    "text": lambda text: f'<p class="caption">{escape(text) or "∅"}</p>',
    "image": lambda image: f'<img class="pixels" src="{image_uri(image)}" alt="picture">',
    "audio": _show_sound,
    "video": lambda clip: f'<img class="pixels" src="{clip_uri(clip, FPS)}" alt="clip">',
}
