"""Generate every view from every subset of the others, with our three models.

python -m papers.polymnist_2023.generate --run runs/poly --out runs/poly/ours/samples.npz
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from core.checkpoint import load_module
from core.cli import command
from core.noise import mix
from core.sampling import FlowOptions
from image import ImageModule
from multimodal.alignment import AlignmentModule
from multimodal.prior import PriorModule
from papers.polymnist_2023.data import Pictures, condition, load_views
from papers.polymnist_2023.embed import embed_views
from papers.polymnist_2023.samples import name, save_samples, subsets
from papers.polymnist_2023.views import VIEWS

CHUNK = 250


@dataclass(frozen=True)
class System:
    """Towers, prior and the generator that all views share."""

    towers: AlignmentModule
    prior: PriorModule
    image: ImageModule

    def generate(
        self, given: Pictures, count: int, seed: int, options: FlowOptions = FlowOptions()
    ) -> dict[str, Float[Tensor, "B 3 H W"]]:
        """Return the views that are not given, `count` pictures each."""
        seeds = mix(seed, torch.arange(count)).tolist()
        embeddings = self.prior.generate(embed_views(self.towers, given), seeds=seeds)
        wanted = [view for view in VIEWS if view not in given]
        return {view: self._draw(view, embeddings[view], seeds, options) for view in wanted}

    def _draw(
        self, view: str, embedding: Tensor, seeds: list[int], options: FlowOptions
    ) -> Float[Tensor, "B 3 H W"]:
        own = mix(torch.tensor(seeds), VIEWS.index(view)).tolist()
        told = condition(view, embedding).split(CHUNK)
        parts = [own[i * CHUNK : (i + 1) * CHUNK] for i in range(len(told))]
        drawn = [self.image.generate(c, options, seeds=s) for c, s in zip(told, parts, strict=True)]
        return torch.cat(drawn)


def load_system(run: Path) -> System:
    """Open the models of a run."""
    return System(
        load_module(run / "towers" / "last.ckpt", AlignmentModule),
        load_module(run / "prior" / "last.ckpt", PriorModule),
        load_module(run / "image" / "last.ckpt", ImageModule),
    )


def generate(
    run: Path,
    out: Path,
    data: Path | None = None,
    split: str = "test",
    n: int = 100,
    joint: int = 400,
    seed: int = 0,
    options: FlowOptions = FlowOptions(),
) -> None:
    """Generate from the first n samples of a split, and joint samples from nothing.

    Args:
        run: Folder of `python -m papers.polymnist_2023.reproduce`.
        out: File to write.
        data: Folder of `python -m papers.polymnist_2023.shards`; <run>/data without it.
        split: Whose samples are the sources.
        n: Sources.
        joint: Samples from nothing.
        seed: Of everything drawn.
        options: How pictures are sampled.
    """
    torch.set_num_threads(1)
    system, sources = load_system(run), load_views((data or run / "data") / split, n)
    made = {}
    for place, (given, _) in enumerate(subsets()):
        shown = {view: sources.pictures[view] for view in given}
        drawn = system.generate(shown, n if given else joint, mix_seed(seed, place), options)
        made |= {name(given, view): pictures for view, pictures in drawn.items()}
    save_samples(out, made)


def mix_seed(seed: int, place: int) -> int:
    """Return the seed of one subset."""
    return int(mix(seed, place))


if __name__ == "__main__":
    command(generate)
