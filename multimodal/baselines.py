"""What a simpler system would reach: each is measured by the same code as the whole.

    python -m multimodal.baselines --run runs/quickstart --split test

The same towers and generators without the joint prior (raw swap, mean shift, noise injection,
label pipeline), systems of another design trained at the same size by `python -m multimodal.rivals`
(any-source conditioning, one shared latent, the prior all at once), and a system that generates
nothing (copy: the nearest training sample). Writes <run>/baselines.json and adds its table to the
run's report.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from einops import reduce
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import normalize

from core.cli import command
from core.files import new_file
from core.noise import normal, seeds_tensor, uniform
from multimodal.evaluate import draw_tuples, measure, measure_directions
from multimodal.readers import load_readers, restrict
from multimodal.report import models_id, publish
from multimodal.report_baselines import COLUMNS, baseline_row, markdown_head
from multimodal.systems import System, embed_all
from multimodal.tuples import CARRIED, MODALITIES, Signals, Tuples, load_tuples, pick
from multimodal.unison import Unison

NOISE = 0.4
"""Length of the injected noise, as the generators were trained with."""

RIVALS = {
    "any": "any-source conditioning",
    "shared": "one shared latent",
    "at_once": "the prior, all at once",
}
"""Folder of what `python -m multimodal.rivals` trained -> what it is called in tables."""

HEAD = markdown_head(["system", *COLUMNS])

Rows = Mapping[str, Float[Tensor, "N E"]]


class RawSwap:
    """A decoder is given the foreign embedding as it is: several sources are averaged.

    From nothing every modality draws a training embedding of its own, as there is no prior that
    could draw them together.
    """

    def __init__(self, system: System, train: Rows):
        self.system, self.train = system, train

    def embed(self, signals: Signals) -> dict[str, Float[Tensor, "B E"]]:
        """Embed as the whole system does."""
        return self.system.embed(signals)

    def complete(
        self, observed: Mapping[str, Float[Tensor, "B E"]], *, seeds: Sequence[int]
    ) -> dict[str, Float[Tensor, "B E"]]:
        """Put the source's embedding in the place of every target's; an observed one is kept."""
        drawn = {m: self._draw(m, seeds) for m in MODALITIES}
        if not observed:
            return drawn
        return {m: observed[m] if m in observed else self._swap(observed, m, seeds) for m in drawn}

    def decode(
        self, modality: str, embeddings: Float[Tensor, "B E"], *, seeds: Sequence[int]
    ) -> Any:
        """Generate as the whole system does."""
        return self.system.decode(modality, embeddings, seeds=seeds)

    def moved(self, row: Float[Tensor, "B E"], source: str, target: str) -> Float[Tensor, "B E"]:
        """Return what a target is given for a source's embedding."""
        return row

    def _swap(
        self, observed: Mapping[str, Float[Tensor, "B E"]], target: str, seeds: Sequence[int]
    ) -> Float[Tensor, "B E"]:
        rows = torch.stack([self.moved(row, m, target) for m, row in observed.items()])
        return normalize(reduce(rows, "M B E -> B E", "mean"), dim=-1)

    def _draw(self, modality: str, seeds: Sequence[int]) -> Float[Tensor, "B E"]:
        rows = self.train[modality]
        u = uniform(seeds_tensor(seeds, rows.device), stream=20 + MODALITIES.index(modality))
        return rows[(u * len(rows)).long()]


class MeanShift(RawSwap):
    """The difference of the modalities' means is added: the gap is closed, and nothing else."""

    def moved(self, row: Float[Tensor, "B E"], source: str, target: str) -> Float[Tensor, "B E"]:
        """Move an embedding from one modality's centre to the other's."""
        centre = {m: reduce(self.train[m], "N E -> E", "mean") for m in (source, target)}
        return normalize(row - centre[source] + centre[target], dim=-1)


class NoiseInjection(RawSwap):
    """Gaussian noise is added to the foreign embedding, as generators have seen it in training."""

    def _swap(
        self, observed: Mapping[str, Float[Tensor, "B E"]], target: str, seeds: Sequence[int]
    ) -> Float[Tensor, "B E"]:
        rows = super()._swap(observed, target, seeds)
        noise = normal(seeds_tensor(seeds, rows.device), rows.shape[1:], stream=24)
        return normalize(rows + noise * NOISE / rows.shape[1] ** 0.5, dim=-1)


class LabelPipeline(RawSwap):
    """Classify the source, then generate from a training embedding that has those labels.

    A logistic regression reads each label from each source's embedding; several sources add their
    log-probabilities. All targets take the embeddings of one training sample that shares the most
    labels, so that they agree on what was left open. What labels do not say, as the size within
    its quarter, is lost.
    """

    def __init__(
        self,
        system: System,
        train: Rows,
        truth: Mapping[str, Int[Tensor, "N"]],
        carried: Mapping[str, tuple[str, ...]] = CARRIED,
    ):
        super().__init__(system, train)
        self.truth, self.carried = truth, carried
        self.classifiers = {
            (modality, factor): LogisticRegression(C=100.0, max_iter=500).fit(
                rows.numpy(), truth[factor].numpy()
            )
            for modality, rows in train.items()
            for factor in carried[modality]
        }

    def complete(
        self, observed: Mapping[str, Float[Tensor, "B E"]], *, seeds: Sequence[int]
    ) -> dict[str, Float[Tensor, "B E"]]:
        """Return the embeddings of a training sample with the labels of what is observed."""
        u = uniform(seeds_tensor(seeds, torch.device("cpu")), (len(self.train["text"]),), stream=25)
        shared = u  # below 1: it only decides among samples with as many labels in common
        for factor, labels in self.truth.items():
            told = [m for m in observed if factor in self.carried[m]]
            if told:
                said = self._read(factor, {m: observed[m] for m in told})
                shared = shared + (said[:, None] == labels).float()
        chosen = shared.argmax(dim=1)
        return {m: rows[chosen] for m, rows in self.train.items()}

    def _read(self, factor: str, rows: Mapping[str, Float[Tensor, "B E"]]) -> Int[Tensor, "B"]:
        votes = [
            torch.from_numpy(self.classifiers[m, factor].predict_log_proba(row.cpu().numpy()))
            for m, row in rows.items()
        ]
        labels = torch.from_numpy(self.classifiers[next(iter(rows)), factor].classes_)
        return labels[torch.stack(votes).sum(dim=0).argmax(dim=1)]


class SharedLatent(RawSwap):
    """Every generator is told one latent; from nothing, that of a training sample.

    Given some modalities the latent is the mean of their embeddings; the generators were trained
    on the mean of all four (`multimodal.rivals`).
    """

    def __init__(self, system: System, train: Rows):
        super().__init__(system, train)
        whole = reduce(torch.stack(list(train.values())), "M N E -> N E", "mean")
        self.latents = normalize(whole, dim=-1)

    def complete(
        self, observed: Mapping[str, Float[Tensor, "B E"]], *, seeds: Sequence[int]
    ) -> dict[str, Float[Tensor, "B E"]]:
        """Return the same latent for every modality, those observed included."""
        if observed:
            rows = torch.stack(list(observed.values()))
            latent = normalize(reduce(rows, "M B E -> B E", "mean"), dim=-1)
        else:
            u = uniform(seeds_tensor(seeds, self.latents.device), stream=20)
            latent = self.latents[(u * len(self.latents)).long()]
        return dict.fromkeys(MODALITIES, latent)


class Copy(RawSwap):
    """The training sample that lies nearest to the source is handed out, in every modality."""

    def __init__(self, system: System, train: Rows, signals: Signals):
        super().__init__(system, train)
        self.signals = signals

    def complete(
        self, observed: Mapping[str, Float[Tensor, "B E"]], *, seeds: Sequence[int]
    ) -> dict[str, Float[Tensor, "B E"]]:
        """Find one training sample by all that is observed, and return its embeddings."""
        if observed:
            likeness = torch.stack([row @ self.train[m].T for m, row in observed.items()]).sum(0)
            chosen = likeness.argmax(dim=1)
        else:
            u = uniform(seeds_tensor(seeds, torch.device("cpu")), stream=20)
            chosen = (u * len(self.train["text"])).long()
        return {m: rows[chosen] for m, rows in self.train.items()}

    def decode(
        self, modality: str, embeddings: Float[Tensor, "B E"], *, seeds: Sequence[int]
    ) -> Any:
        """Return the training signals whose embeddings these are."""
        nearest = (embeddings @ self.train[modality].T).argmax(dim=1)
        return pick(self.signals[modality], nearest.tolist())


def baselines(
    run: Path = Path("runs/quickstart"),
    world: Path | None = None,
    split: Literal["val", "test"] = "val",
    n: int = 250,
    seed: int = 0,
    memory: int = 5000,
) -> None:
    """Measure the baselines on the samples that `evaluate` takes, and print a table.

    Rivals that were not trained are left out, with a warning.

    Args:
        run: Folder with the stages' checkpoints and the readers.
        world: Folder that `python -m multimodal.shards world` wrote; by default the run's own.
        split: Validation while developing; test for what is reported.
        n: Sources a direction.
        seed: Draws the sources and everything that is generated.
        memory: Training samples that means are taken from and copies are drawn from.
    """
    world = run / "world" if world is None else world
    real = draw_tuples(world / split, n, seed)
    readers = restrict(load_readers(run / "readers"), real)
    unseen = draw_tuples(world / split, n, seed, held_out=True) if split == "test" else None
    train = load_tuples(world / "train", range(memory))
    table: dict[str, Any] = {}
    print(HEAD)
    for name, system in systems(run, train):
        report, _ = measure(system, readers, real, n, seed)
        kept = ("directions", "summary", "joint", "one_to_rest", "diversity", "recall")
        table[name] = {k: report[k] for k in kept}
        if unseen is not None:
            table[name]["composition"] = measure_directions(system, readers, unseen, n, seed)
        print(f"| {name} | {' | '.join(baseline_row(table[name]))} |", flush=True)
    with new_file(run / "baselines.json") as path:
        origin = {"split": split, "n": n, "seed": seed, "models": models_id(run)}
        path.write_text(json.dumps(origin | {"systems": table}, indent=1) + "\n")
    if (run / "report.json").is_file():
        publish(run)


def systems(run: Path, train: Tuples) -> Iterator[tuple[str, System]]:
    """Yield every system by name, each opened when it is asked for."""
    whole = Unison(run)
    rows = embed_all(whole, train.signals)
    yield "copy", Copy(whole, rows, train.signals)
    yield "raw swap", RawSwap(whole, rows)
    yield "mean shift", MeanShift(whole, rows)
    yield "noise injection", NoiseInjection(whole, rows)
    yield "label pipeline", LabelPipeline(whole, rows, train.truth, train.carried)
    for name, build in (("any", RawSwap), ("shared", SharedLatent)):
        found = rival(run, name, tuple(MODALITIES))
        if found:
            yield RIVALS[name], build(Unison(run, replace=found), rows)
    found = rival(run, "at_once", ("prior",))
    if found:
        yield RIVALS["at_once"], Unison(run, replace=found)
    yield "the whole", whole


def rival(run: Path, name: str, stages: Sequence[str]) -> dict[str, Path]:
    """Return the folders of a rival's stages, or nothing if it was not trained."""
    folders = {stage: run / "rivals" / name / stage for stage in stages}
    missing = [folder for folder in folders.values() if not (folder / "last.ckpt").is_file()]
    if missing:
        warnings.warn(
            f"{RIVALS[name]} is left out: {missing[0]} holds no last.ckpt; train it with: "
            f"python -m multimodal.rivals --run {run} --only {name}",
            stacklevel=2,
        )
        return {}
    return folders


if __name__ == "__main__":
    command(baselines)
