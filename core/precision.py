"""Which precision pays on the processor at hand."""

import warnings

import torch

from core.errors import UserError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""In which trainers here train."""
NAMES = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""Lightning's short names of these."""


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

    Raises:
        UserError: if weights would not be float32, or the processor cannot do it.

    Warns:
        UserWarning: if it is another than what is asked for.
    """
    name = NAMES.get(str(precision), str(precision))
    if precision is not None and name not in PRECISIONS:
        raise UserError(
            f"--trainer.precision is {precision} but weights, their average and the optimiser's"
            f" moments must be float32 here; choose one of {', '.join(PRECISIONS)}"
        )
    on_cpu = accelerator == "cpu" or (
        accelerator == "auto" and not torch.accelerator.is_available()
    )
    if on_cpu and name == "16-mixed":
        raise UserError(
            f"--trainer.precision is {precision}, which needs a GPU; choose bf16-mixed or 32-true"
        )
    if name != "bf16-mixed" or not on_cpu or has_bfloat16():
        return precision
    warnings.warn(
        "this CPU has no instructions for bfloat16, with which bf16-mixed would take several times"
        " as long; training in float32 (--trainer.precision 32-true)",
        stacklevel=2,
    )
    return "32-true"
