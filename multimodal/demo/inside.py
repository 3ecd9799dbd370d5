"""Inside the models: what attention looks at, and how noise becomes a signal, step by step."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float, UInt8
from torch import Tensor

from core.attention_record import recorded_attention
from core.errors import UserError
from core.noise import normal, seeds_tensor
from core.trajectory import Trajectory, watched
from multimodal.unison import Unison, options_for, stage_seeds

FILMED = ("image", "video", "audio")
"""Modalities that are sampled in steps from noise."""


@dataclass(frozen=True)
class CaptionAttention:
    """A caption, and what each of its tokens looks at when the model reads it."""

    caption: str
    """As it was generated."""
    tokens: tuple[str, ...]
    """The condition's tokens, then the text's; special ones in angle brackets."""
    weights: Float[Tensor, "L N T T"]
    """Layer, head, the token that looks, the token that is looked at."""


@dataclass(frozen=True)
class Film:
    """The way of one signal from noise, as pictures."""

    modality: str
    """One of FILMED."""
    trajectory: Trajectory
    """Its tokens at every step."""
    noisy: Float[Tensor, "S 3 H W"]
    """The state at each step; the frames of a clip below each other, of a sound its spectra."""
    clean: Float[Tensor, "S 3 H W"]
    """What the network expects as the end at each step."""
    signal: Any
    """The end, as `Unison.generate` gives it."""


def wish(unison: Unison, modality: str, text: str, seed: int) -> Float[Tensor, "1 E"]:
    """Return the embedding from which `Unison.generate` would make a signal; "" leaves all open."""
    observed = unison.embed({"text": [text]}) if text else {}
    completed = unison.complete(observed, seeds=[seed])
    if modality not in completed:
        raise UserError(f"the prior in {unison.run} was trained without {modality}")
    return completed[modality]


@torch.no_grad()
def caption_attention(unison: Unison, text: str, seed: int) -> CaptionAttention:
    """Write a caption for a wish, and record attention while it is read from begin to end.

    The tokens are those of the tokenizer, which may differ from those that were drawn one by one;
    what is read is the network under its condition, without guidance.
    """
    cond, module = wish(unison, "text", text, seed), unison.stage("text")
    (caption,) = unison.decode("text", cond, seeds=[seed])
    ids = module.codec.encode([caption], module.net.config.context).to(cond.device)
    with recorded_attention() as weights:
        module.net(ids, cond)
    prefix = [f"<condition {i + 1}>" for i in range(module.net.config.prefix)]
    tokens = (*prefix, *(_piece(module.codec.tokenizer, i) for i in ids[0].tolist()))
    return CaptionAttention(caption, tokens, torch.cat(weights).cpu())


@torch.no_grad()
def film(
    unison: Unison, modality: str, cond: Float[Tensor, "1 E"], seed: int, steps: int | None = None
) -> Film:
    """Generate a signal as `Unison.decode` does, and keep all steps.

    Args:
        unison: The models.
        modality: One of FILMED.
        cond: Its embedding.
        seed: Of the noise.
        steps: Solver steps; by default the generator's own.
    """
    if modality not in FILMED:
        raise UserError(f"{modality} is not sampled in steps; choose from {', '.join(FILMED)}")
    module, options = unison.stage(modality), options_for(modality, steps=steps)
    seeds = seeds_tensor(stage_seeds([seed], modality), module.device)
    velocity = module.guided_velocity(cond, options)
    noise = normal(seeds, module.token_shape)
    way = watched(velocity, noise, options, module.flow.prediction)
    noisy, clean = (_pictures(modality, module.codec, x[:, 0]) for x in (way.noisy, way.clean))
    signal = module.codec.decode(way.noisy[-1])[0].cpu()
    return Film(modality, way, noisy.cpu(), clean.cpu(), signal)


@torch.no_grad()
def film_attention(
    unison: Unison, film: Film, cond: Float[Tensor, "1 E"]
) -> Float[Tensor, "S L N T T"]:
    """Return what each token looks at, step by step: step, layer, head, query, key.

    The network is run again on the states of all steps but the end, under the condition, without
    guidance.
    """
    module, states = unison.stage(film.modality), film.trajectory.noisy[:-1, 0]
    times = torch.tensor(film.trajectory.times[:-1], device=states.device)[:, None]
    with recorded_attention() as weights:
        module.net(states, times, repeat(cond, "1 E -> S E", S=len(states)))
    return torch.stack(weights, dim=1).cpu()


def quantised(weights: Float[Tensor, "*B T L"]) -> UInt8[Tensor, "*B T L"]:
    """Return weights as 0 to 255, for the page."""
    return (weights.clamp(0, 1) * 255).round().to(torch.uint8)


def _pictures(modality: str, codec: Any, tokens: Float[Tensor, "S T C"]) -> Tensor:
    """Return tokens of each step as a picture in [-1, 1]."""
    match modality:
        case "audio":
            return _spectra(codec.spectra(tokens))
        case "video":
            return rearrange(codec.decode(tokens), "S F c H W -> S c (F H) W")
        case _:
            return codec.decode(tokens)


def _spectra(mel: Float[Tensor, "S M F"]) -> Float[Tensor, "S 3 M F"]:
    """Colour log-mel spectra between the floor and the loudest of the end, low bands below."""
    from matplotlib import colormaps

    low, high = mel.min(), mel[-1].max()
    loudness = ((mel - low) / (high - low).clamp_min(1e-6)).clamp(0, 1).flip(1).cpu()
    colours = torch.from_numpy(colormaps["magma"](loudness.numpy())[..., :3]).float()
    return rearrange(colours, "S M F c -> S c M F") * 2 - 1


def _piece(tokenizer: Any, token: int) -> str:
    """Return one token as a label: what it adds to a text, or what it means."""
    special = {tokenizer.bos: "<begin>", tokenizer.eos: "<end>", tokenizer.pad: "<pad>"}
    return special.get(token) or tokenizer.decode([token]).replace(" ", "␣") or f"<{token}>"
