"""Train a model of the package `multivae` for given CPU-seconds, and let it generate.

Run by the interpreter of an environment of its own; it imports nothing of this repository.
Objectives, networks and settings are the package's for PolyMNIST; only training ends by the clock.
"""
# pyright: reportMissingImports=false, reportArgumentType=false

import argparse
import json
import logging
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

VIEWS = ("m0", "m1", "m2", "m3", "m4")
SHAPE = (3, 28, 28)
BATCH = {"mmvaeplus": 32, "mmvaeplus_conv": 32, "mopoe": 256}
"""As in the package's own scripts for PolyMNIST."""
CHUNK = 50
"""Sources generated from at once; MMVAE+ draws one of the observed views for each chunk."""


def main() -> None:
    """Train, generate, write <out>.npz and <out>.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="arrays of the shards")
    parser.add_argument("--out", type=Path, required=True, help="file to write, without suffix")
    parser.add_argument("--model", choices=sorted(BATCH), required=True)
    parser.add_argument("--seconds", type=float, required=True, help="CPU-seconds of training")
    parser.add_argument("--joint", type=int, default=400, help="unconditional samples")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002  the package draws from it
    logging.disable(logging.INFO)
    with np.load(options.data) as arrays:
        train = {v: torch.from_numpy(arrays[f"train_{v}"]) for v in VIEWS}
        sources = {v: torch.from_numpy(arrays[f"test_{v}"]) for v in VIEWS}
    model = build(options.model)
    told = fit(model, train, BATCH[options.model], options.seconds)
    started = time.process_time()
    samples = generate(model, sources, options.joint)
    told |= {"model": options.model, "generate_cpu_seconds": time.process_time() - started}
    told["parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    np.savez_compressed(options.out.with_suffix(".npz"), **samples)
    options.out.with_suffix(".json").write_text(json.dumps(told, indent=1))


def build(name: str) -> Any:
    """Return a model with the package's settings for PolyMNIST."""
    return mopoe() if name == "mopoe" else mmvae_plus(residual=name == "mmvaeplus")


def mmvae_plus(*, residual: bool) -> Any:
    """MMVAE+ (Palumbo et al. 2023), with the paper's residual networks or plain convolutions."""
    from multivae.models import MMVAEPlus, MMVAEPlusConfig
    from multivae.models.base import BaseAEConfig
    from multivae.models.nn import mmnist

    config = MMVAEPlusConfig(
        **_shared(),
        latent_dim=32,
        modalities_specific_dim=32,
        K=1,
        beta=2.5,
        loss="iwae_looser",
        prior_and_posterior_dist="laplace_with_softmax",
        learn_shared_prior=False,
        learn_modality_prior=True,
    )
    if residual:
        encoders = {v: mmnist.EncoderResnetMMNIST(32, 32) for v in VIEWS}
        decoders = {v: mmnist.DecoderResnetMMNIST(64) for v in VIEWS}
    else:
        inside = BaseAEConfig(latent_dim=32, style_dim=32, input_dim=SHAPE)
        outside = BaseAEConfig(latent_dim=64, input_dim=SHAPE)
        encoders = {v: mmnist.EncoderConvMMNIST_multilatents(inside) for v in VIEWS}
        decoders = {v: mmnist.DecoderConvMMNIST(outside) for v in VIEWS}
    return MMVAEPlus(config, encoders, decoders)


def mopoe() -> Any:
    """MoPoE (Sutter et al. 2021)."""
    from multivae.models import MoPoE, MoPoEConfig
    from multivae.models.base import BaseAEConfig
    from multivae.models.nn import mmnist

    config = MoPoEConfig(**_shared(), latent_dim=512, beta=2.5)
    sizes = BaseAEConfig(latent_dim=512, input_dim=SHAPE)
    encoders = {v: mmnist.EncoderConvMMNIST(sizes, bias=True) for v in VIEWS}
    return MoPoE(config, encoders, {v: mmnist.DecoderConvMMNIST(sizes) for v in VIEWS})


def _shared() -> dict[str, Any]:
    return {
        "n_modalities": len(VIEWS),
        "input_dims": dict.fromkeys(VIEWS, SHAPE),
        "decoders_dist": dict.fromkeys(VIEWS, "laplace"),
        "decoder_dist_params": {v: {"scale": 0.75} for v in VIEWS},
    }


def fit(model: Any, train: dict[str, torch.Tensor], batch: int, seconds: float) -> dict[str, Any]:
    """Train with Adam until the CPU-seconds are spent; return what was reached."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=batch == BATCH["mmvaeplus"])
    count = len(train[VIEWS[0]])
    steps, losses, started = 0, [], time.process_time()
    model.train()
    while True:
        for rows in torch.randperm(count).split(batch):
            if len(rows) < batch:
                continue
            loss = model(dataset({v: x[rows] for v, x in train.items()})).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps += 1
            losses.append(float(loss.detach()))
            spent = time.process_time() - started
            if steps % 100 == 0:
                print(f"step {steps}, {spent:.0f} s, loss {np.mean(losses[-50:]):.2f}", flush=True)
            if spent >= seconds:
                return {
                    "steps": steps,
                    "epochs": round(steps * batch / count, 2),
                    "batch": batch,
                    "cpu_seconds": round(spent, 1),
                    "loss": float(np.mean(losses[-50:])),
                }


@torch.no_grad()
def generate(model: Any, sources: dict[str, torch.Tensor], joint: int) -> dict[str, np.ndarray]:
    """Return every view from every subset of the others, and joint samples, as bytes."""
    model.eval()
    made: dict[str, list[torch.Tensor]] = {}
    for size in range(1, len(VIEWS)):
        for given in combinations(VIEWS, size):
            wanted = [v for v in VIEWS if v not in given]
            for start in range(0, len(sources[VIEWS[0]]), CHUNK):
                chunk = dataset({v: x[start : start + CHUNK] for v, x in sources.items()})
                drawn = model.predict(chunk, cond_mod=list(given), gen_mod=wanted)
                for v in wanted:
                    made.setdefault(f"{'+'.join(given)}>{v}", []).append(drawn[v])
    for _ in range(0, joint, CHUNK):
        drawn = model.decode(model.generate_from_prior(CHUNK))
        for v in VIEWS:
            made.setdefault(f">{v}", []).append(drawn[v])
    return {
        name: (torch.cat(parts).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        for name, parts in made.items()
    }


def dataset(rows: dict[str, torch.Tensor]) -> Any:
    """Wrap bytes as the package's batch of floats in [0, 1]."""
    from multivae.data.datasets.base import MultimodalBaseDataset

    return MultimodalBaseDataset({v: x.float() / 255 for v, x in rows.items()})


if __name__ == "__main__":
    main()
