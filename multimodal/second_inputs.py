"""What the second readers are given: descriptors written by hand, none shared with the first.

Ink is found by the principal axis of a picture's colours, not by its border; motion by phase
correlation, not by centroids; sounds become cepstra over the utterance's own time.
"""

import math
import re
import zlib
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

SIDE = 28  # pixels of a picture whose ink was moved, straightened and scaled
SPREAD = 0.45  # standard deviation of the ink's rows there, of half the side
ORIENTATIONS, CELL = 8, 4
SHADES = 4  # a colour axis
REACH = 4  # pixels a frame that a shift is sought in
RATE, BANDS, CEPSTRA, MOMENTS = 8000, 26, 13, 24
WINDOW, HOP, BINS = 256, 80, 512  # samples: 32 ms every 10 ms, padded to 512 for the spectrum
QUIET = 1e-3  # share of the loudest frame's power below which a clip has not begun, or is over
GRAMS = 4096  # bins of words and word pairs, of which captions have about a thousand


def words(texts: Sequence[str]) -> Float[Tensor, "B D"]:
    """Counts of words and word pairs, hashed; punctuation is dropped."""
    counts = torch.zeros(len(texts), GRAMS)
    for row, text in zip(counts, texts, strict=True):
        single = re.findall(r"\w+", text.lower())
        for gram in [*single, *(" ".join(pair) for pair in pairwise(single))]:
            row[zlib.crc32(gram.encode()) % GRAMS] += 1
    return counts


def shape(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
    """Histograms of oriented gradients of the straightened ink, square roots, of unit length.

    Source: Dalal and Triggs 2005; Liu et al. 2003 (normalisation and gradients of digits).
    """
    gradient_y, gradient_x = _gradients(straighten(ink(image)))
    strength = (gradient_x.square() + gradient_y.square()).sqrt()
    turn = torch.atan2(gradient_y, gradient_x) / (2 * math.pi) * ORIENTATIONS
    half = ORIENTATIONS / 2
    planes = [
        strength * (1 - ((turn - k + half) % ORIENTATIONS - half).abs()).clamp(min=0)
        for k in range(ORIENTATIONS)
    ]
    cells = F.avg_pool2d(torch.stack(planes, 1), 2 * CELL, CELL)
    return F.normalize(rearrange(cells, "B K H W -> B (K H W)").sqrt(), dim=1)


def clip_shape(video: Float[Tensor, "B F 3 H W"]) -> Float[Tensor, "B D"]:
    """The same, averaged over the frames."""
    frames = shape(rearrange(video, "B F C H W -> (B F) C H W"))
    return reduce(frames, "(B F) D -> B D", "mean", F=video.shape[1])


def palette(image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
    """Square root of the joint histogram of red, green and blue, each pixel shared by neighbours.

    Under the root the ink counts for something beside the background, and Euclidean distances
    become Hellinger's.
    """
    scaled_BPC = rearrange((image.clamp(-1, 1) + 1) / 2 * (SHADES - 1), "B C H W -> B (H W) C")
    near_BPCK = (1 - (scaled_BPC[..., None] - torch.arange(SHADES)).abs()).clamp(min=0)
    red, green, blue = near_BPCK.unbind(2)
    histogram = torch.einsum("BPr,BPg,BPb->Brgb", red, green, blue) / scaled_BPC.shape[1]
    return rearrange(histogram, "B r g b -> B (r g b)").sqrt()


def clip_palette(video: Float[Tensor, "B F 3 H W"]) -> Float[Tensor, "B D"]:
    """That of all frames together."""
    return palette(rearrange(video, "B F C H W -> B C (F H) W"))


def shifts(video: Float[Tensor, "B F 3 H W"]) -> Float[Tensor, "B D"]:
    """How well one frame fits the next for each shift: phase correlation, averaged over the clip.

    Source: Kuglin and Hines 1975; frequencies are damped by a Gaussian a pixel wide.
    """
    grey = reduce(video, "B F C H W -> B F H W", "mean")
    spectrum = torch.fft.fft2(grey - reduce(grey, "B F H W -> B F 1 1", "mean"))
    cross = spectrum[:, 1:] * spectrum[:, :-1].conj()
    floor = 1e-3 * reduce(cross.abs(), "B F H W -> B F 1 1", "mean") + 1e-12
    rows, columns = (torch.fft.fftfreq(size) for size in grey.shape[2:])
    damping = (-2 * math.pi**2 * (rows[:, None].square() + columns.square())).exp()
    surface = torch.fft.ifft2((cross / (cross.abs() + floor)).mean(1) * damping).real
    near = surface.roll((REACH, REACH), (1, 2))[:, : 2 * REACH + 1, : 2 * REACH + 1]
    return F.normalize(rearrange(near, "B Y X -> B (Y X)"), dim=1)


def cepstra(audio: Float[Tensor, "B S"]) -> Float[Tensor, "B D"]:
    """Mel-frequency cepstra of what is said, normalised, at equally spaced moments.

    Source: Davis and Mermelstein 1980; mean and variance normalisation over the utterance.
    """
    emphasised = audio - 0.95 * F.pad(audio, (1, 0))[:, :-1]
    window = torch.hamming_window(WINDOW)
    spectrum = torch.stft(emphasised, BINS, HOP, WINDOW, window, return_complex=True)
    power_BKT = spectrum.abs().square()
    mel_BMT = torch.einsum("MK,BKT->BMT", _mel_bands(), power_BKT)
    floor_B11 = 1e-5 * mel_BMT.amax((1, 2), keepdim=True) + 1e-10
    cepstra_BCT = torch.einsum("CM,BMT->BCT", _cosines(), (mel_BMT + floor_B11).log())
    first, last = _ends(reduce(power_BKT, "B K T -> B T", "sum"))
    moments_BT = first[:, None] + (last - first)[:, None] * torch.linspace(0, 1, MOMENTS)
    sampled_BCT = _at(cepstra_BCT, moments_BT)
    centred_BCT = sampled_BCT - sampled_BCT.mean(2, keepdim=True)
    normal_BCT = centred_BCT / (centred_BCT.square().mean(2, keepdim=True).sqrt() + 1e-3)
    return rearrange(normal_BCT, "B C T -> B (C T)")


def ink(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W"]:
    """Place of each pixel on the principal axis of the picture's colours, 1 in the ink.

    The ink covers less than the background does, so the axis points where the tail is.
    """
    pixels_BCP = rearrange(image, "B C H W -> B C (H W)")
    centred_BCP = pixels_BCP - pixels_BCP.mean(2, keepdim=True)
    axis_BC = torch.linalg.eigh(centred_BCP @ centred_BCP.mT).eigenvectors[..., -1]
    along_BP = torch.einsum("BC,BCP->BP", axis_BC, centred_BCP)
    along_BP = torch.where(along_BP.pow(3).mean(1, keepdim=True) < 0, -along_BP, along_BP)
    low, high = torch.quantile(along_BP, torch.tensor([0.3, 0.985]), dim=1)[..., None]
    level_BP = ((along_BP - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return rearrange(level_BP, "B (H W) -> B H W", W=image.shape[3])


def straighten(ink: Float[Tensor, "B H W"]) -> Float[Tensor, "B Y X"]:
    """Move the ink's centroid to the middle, undo its slant, and scale it by its second moments.

    Source: LeCun et al. 1998 (deslanting); the aspect is kept by half (Liu et al. 2003).
    """
    weight = (ink - 0.25).clamp(min=0)
    weight = weight / reduce(weight, "B H W -> B 1 1", "sum").clamp(min=1e-6)
    y, x = (torch.linspace(-1, 1, size) for size in ink.shape[1:])
    rows, columns = reduce(weight, "B H W -> B H", "sum"), reduce(weight, "B H W -> B W", "sum")
    middle_y, middle_x = rows @ y, columns @ x
    from_y, from_x = y - middle_y[:, None], x - middle_x[:, None]
    tall = (rows * from_y.square()).sum(1).clamp(min=1e-6)
    mixed = torch.einsum("BHW,BH,BW->B", weight, from_y, from_x)
    slant = (mixed / tall).clamp(-0.6, 0.6)
    wide = ((columns * from_x.square()).sum(1) - slant * mixed).clamp(min=1e-6)
    scale_y = tall.sqrt() / SPREAD
    scale_x = scale_y * (wide / tall).sqrt().clamp(0.3, 2).sqrt()
    first = torch.stack([scale_x, slant * scale_y, middle_x], 1)
    second = torch.stack([torch.zeros_like(slant), scale_y, middle_y], 1)
    affine = torch.stack([first, second], 1)
    grid = F.affine_grid(affine, [len(ink), 1, SIDE, SIDE], align_corners=True)
    return F.grid_sample(ink[:, None], grid, align_corners=True)[:, 0]


def _gradients(image: Float[Tensor, "B H W"]) -> tuple[Tensor, Tensor]:
    """Central differences along y and x after a Gaussian blur a pixel wide."""
    bell = (-torch.arange(-3, 4).square() / 2).exp()
    bell = bell / bell.sum()
    blurred = F.conv2d(image[:, None], torch.outer(bell, bell)[None, None], padding=3)
    padded = F.pad(blurred, (1, 1, 1, 1), mode="replicate")[:, 0]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return down, padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]


def _mel_bands() -> Float[Tensor, "M K"]:
    """Triangles equally wide in mel, from 60 Hz to just below half the rate."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (60, 0.475 * RATE))
    edges = 700 * (10 ** (torch.linspace(low, high, BANDS + 2) / 2595) - 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hertz_K = torch.linspace(0, RATE / 2, BINS // 2 + 1)
    rising, falling = (hertz_K - left) / (centre - left), (right - hertz_K) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0)


def _cosines() -> Float[Tensor, "C M"]:
    """The first rows of the discrete cosine transform."""
    order = torch.arange(CEPSTRA)[:, None]
    return torch.cos(math.pi * order * (torch.arange(BANDS) + 0.5) / BANDS) * (2 / BANDS) ** 0.5


def _ends(power: Float[Tensor, "B T"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """The first and the last frame in which something is said."""
    loud = power >= QUIET * power.amax(1, keepdim=True)
    last = power.shape[1] - 1 - loud.flip(1).float().argmax(1)
    return loud.float().argmax(1).float(), last.float()


def _at(track: Float[Tensor, "B C T"], moments: Float[Tensor, "B M"]) -> Float[Tensor, "B C M"]:
    """A track's values at fractional frames."""
    before = moments.long().clamp(max=track.shape[2] - 2)
    share = (moments - before)[:, None]
    picked = [
        track.gather(2, index[:, None].expand(-1, track.shape[1], -1))
        for index in (before, before + 1)
    ]
    return picked[0] * (1 - share) + picked[1] * share
