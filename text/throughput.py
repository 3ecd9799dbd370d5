"""How much arithmetic a token takes, and what share of a device's it puts to use."""

import torch

from text.model import TextModel

PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
}
"""Dense bfloat16 operations a second, by the makers' data sheets; the first name that fits."""


def flops_per_token(model: TextModel) -> int:
    """Return the floating-point operations that training spends on a token, forward and backward.

    Six for each weight that multiplies (the table of embeddings is only looked up in, but serves as
    head where the two are tied), four where it is frozen and has no gradient of its own, and
    attention's own over the whole context.

    Source: Chowdhery et al. 2022 (PaLM), appendix B.
    """
    config, shape = model.config, model.config.attention
    looked_up = [model.null, *(table.weight for table in (model.embed, model.places) if table)]
    multiplied = [p for p in model.parameters() if not any(p is table for table in looked_up)]
    multiplied += [model.embed.weight] if config.tied else []
    spent = sum((6 if p.requires_grad else 4) * p.numel() for p in multiplied)
    return spent + 12 * config.depth * shape.heads * shape.head_width * config.context


def utilisation(flops: float, device: torch.device) -> float | None:
    """Return the share of one device's peak; None of a device whose peak is not known.

    Args:
        flops: Operations a second of the model, on this device.
    """
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops / peak for known, peak in PEAKS.items() if known in name), None)
