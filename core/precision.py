"""Which precision pays on the processor at hand."""

import warnings

import torch


def has_bfloat16() -> bool:
    """Tell whether this CPU has instructions for products of bfloat16.

    Without them such a product took five times as long as one of float32, and a training step
    seven times (AMD EPYC with AVX2, torch 2.11; LOG.md).
    """
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def precision_for(precision: str | int | None, accelerator: object) -> str | int | None:
    """Return the precision to train with: float32 in place of bf16-mixed where that is no gain.

    Args:
        precision: What is asked for, in Lightning's names.
        accelerator: Likewise.

    Warns:
        UserWarning: if it is another than what is asked for.
    """
    on_cpu = accelerator == "cpu" or (
        accelerator == "auto" and not torch.accelerator.is_available()
    )
    if precision != "bf16-mixed" or not on_cpu or has_bfloat16():
        return precision
    warnings.warn(
        "this CPU has no instructions for bfloat16, with which bf16-mixed would take several times"
        " as long; training in float32 (--trainer.precision 32-true)",
        stacklevel=2,
    )
    return "32-true"
