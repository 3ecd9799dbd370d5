"""The shared space of a run on real samples: a map, neighbours, and sums of embeddings.

What is shown are test samples, which no model has seen, as the towers embed them: a point for each
of a sample's four signals.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from core.errors import UserError
from core.shards import ShardReader
from multimodal.factors import COLOURS, MOTIONS
from multimodal.systems import embed_all
from multimodal.tuples import MODALITIES, Tuples, load_tuples
from multimodal.unison import Unison

SAMPLES = 250
"""Of the test split; each is four points."""
PERPLEXITY = 30.0
"""Neighbours that the map keeps together: at 30 the colours are islands and the digits towns on
them, at 60 the islands grow together (seen on the quick start's run)."""


@dataclass(frozen=True)
class Point:
    """One signal of one sample on the map."""

    modality: str
    """One of MODALITIES."""
    index: int
    """The sample's number on the map."""

    def __str__(self) -> str:
        return f"{self.modality} {self.index}"


@dataclass(frozen=True)
class Neighbour:
    """A point that lies near."""

    point: Point
    similarity: float
    """Cosine."""


@dataclass(frozen=True)
class Space:
    """Samples and their embeddings, row i of every modality of the same sample."""

    real: Tuples
    """Signals and what they show."""
    rows: Mapping[str, Float[Tensor, "N E"]]
    """Unit embeddings."""

    def __getitem__(self, point: Point) -> Float[Tensor, "E"]:
        return self.rows[point.modality][point.index]

    def signal(self, point: Point) -> Any:
        """Return what was embedded."""
        return self.real.signals[point.modality][point.index]

    def check(self, modality: str, index: int) -> Point:
        """Return the point of that name; raise if there is none."""
        if modality not in self.rows or not 0 <= index < len(self.real):
            raise UserError(
                f"{modality} {index} is no point of the map; points are named by one of "
                f"{', '.join(self.rows)} and a number from 0 to {len(self.real) - 1}"
            )
        return Point(modality, index)

    def label(self, index: int) -> str:
        """Return in words what a sample shows."""
        truth = {factor: int(values[index]) for factor, values in self.real.truth.items()}
        colour, motion = COLOURS[truth["colour"]], MOTIONS[truth["motion"]]
        return f"{truth['digit']}, {colour}, {motion}, size {float(self.real.size[index]):.2f}"


def read_space(unison: Unison, samples: int = SAMPLES, seed: int = 0) -> Space:
    """Draw test samples of a run's world and embed them by its towers."""
    folder = unison.run / "world" / "test"
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not there, and the map is drawn from test samples; build the run's world "
            "again, or copy it there"
        )
    count = len(ShardReader(folder))
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:samples]
    real = load_tuples(folder, drawn.tolist())
    return Space(real, embed_all(unison, real.signals))


def lay_out(
    rows: Mapping[str, Float[Tensor, "N E"]], perplexity: float = PERPLEXITY
) -> dict[str, Float[Tensor, "N 2"]]:
    """Return a place in the unit square for every point: one t-SNE of all modalities.

    Each modality is centred first: the towers leave a constant between them (the modality gap,
    Liang et al. 2022) which says nothing of a sample. Neighbours in the map are neighbours in
    direction; distances between islands mean nothing. The same embeddings give the same map.

    Source: van der Maaten and Hinton 2008; started from principal components (Kobak and Berens
    2019).
    """
    from sklearn.manifold import TSNE

    centred = [normalize(x - x.mean(dim=0), dim=-1) for x in rows.values()]
    points = torch.cat(centred).numpy()
    perplexity = min(perplexity, (len(points) - 1) / 3)
    tsne = TSNE(init="pca", metric="cosine", perplexity=perplexity, random_state=0)
    placed = torch.from_numpy(tsne.fit_transform(points)).float()
    low, high = placed.amin(dim=0), placed.amax(dim=0)
    placed = (placed - low) / (high - low).clamp_min(1e-6)
    sizes = [len(x) for x in rows.values()]
    return dict(zip(rows, placed.split(sizes), strict=True))


def nearest(
    space: Space, place: Float[Tensor, "E"], count: int, besides: Point | None = None
) -> dict[str, list[Neighbour]]:
    """Return the `count` points of each modality that lie nearest by cosine, nearest first.

    Embeddings are compared as they are, as in the evaluation's retrieval: within one modality the
    gap moves all candidates alike (centring changed 0.7044 right neighbours of 5 to 0.7034 on the
    quick start's run).

    Args:
        besides: Is no candidate.
    """
    found: dict[str, list[Neighbour]] = {}
    for modality, rows in space.rows.items():
        similarity = rows @ place
        if besides is not None and besides.modality == modality:
            similarity[besides.index] = -torch.inf
        best = similarity.topk(min(count, int(similarity.isfinite().sum())))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        found[modality] = [Neighbour(Point(modality, i), value) for i, value in pairs]
    return found


def term(space: Space, text: str) -> Point | str:
    """Return what a term of a sum means: a point by its name ("image 17"), or words."""
    text = text.strip()
    if not text:
        raise UserError("a term of the sum is empty; type words, or the name of a point: image 17")
    named = re.fullmatch(rf"({'|'.join(MODALITIES)}) (\d{{1,9}})", text)
    return space.check(named[1], int(named[2])) if named else text


def place_of(unison: Unison, space: Space, what: Point | str) -> Float[Tensor, "E"]:
    """Return the unit embedding of a point, or of words."""
    return space[what] if isinstance(what, Point) else unison.embed({"text": [what]})["text"][0]


def moved(
    start: Float[Tensor, "*B E"], less: Float[Tensor, "*B E"], more: Float[Tensor, "*B E"]
) -> Float[Tensor, "*B E"]:
    """Return start - less + more on the unit sphere: "red seven" - "red" + "blue".

    The same sum as the evaluation's (`multimodal.space.recolouring`). Source: Mikolov et al. 2013
    (linguistic regularities), section 3.
    """
    return normalize(start - less + more, dim=-1)


def decoded(unison: Unison, modality: str, place: Float[Tensor, "E"], to: str, *, seed: int) -> Any:
    """Return a signal of modality `to` made from a place in the space.

    Args:
        modality: Whose embedding the place is taken for: that of the sum's first term.
    """
    completed = unison.complete({modality: place[None]}, seeds=[seed])
    if to not in completed:
        raise UserError(f"the prior in {unison.run} was trained without {to}; choose another")
    return unison.decode(to, completed[to], seeds=[seed])[0]
