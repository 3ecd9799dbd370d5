"""Networks as ONNX files, each compared with PyTorch before it is handed over.

Needs the packages of the extra `onnx`.
"""

import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UserError

NEEDED = ("onnx", "onnxscript", "onnxruntime")
LARGEST = 1e-4
"""Difference to PyTorch from which on a file is refused."""
OPSET = 20

Axes = Mapping[int, str]
"""Axis -> name of its length, which may be any; the others are as in the example."""


def check_installed() -> None:
    """Raise a ValueError that tells how to install what is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX files need {', '.join(missing)}, which are not installed; run:"
            " pip install -e '.[onnx]'"
        )


@contextmanager
def reproducible() -> Iterator[None]:
    """Draw the same random inputs at each export, and leave the caller's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def write_onnx(
    path: Path,
    module: nn.Module,
    example: Mapping[str, Tensor],
    axes: Mapping[str, Axes],
    outputs: Sequence[str],
    trials: Sequence[Mapping[str, Tensor]],
) -> float:
    """Write a network as an ONNX file and return its largest difference to PyTorch.

    Args:
        path: File to write, weights included.
        module: In eval mode; takes the inputs in this order, returns a tensor or several.
        example: Inputs by name; axes that may change should be 2 or longer, and differ.
        axes: Input -> its axes of any length.
        outputs: Names of what is returned.
        trials: Inputs of other lengths, on which both are run.

    Raises:
        AssertionError: if the two differ by more than 1e-4.
    """
    program = _exported(module, example, axes, outputs)
    program.save(path)
    difference = max(_difference(path, module, trial) for trial in [example, *trials])
    assert difference <= LARGEST, f"{path.name} differs from PyTorch by {difference}"
    return difference


def _exported(
    module: nn.Module,
    example: Mapping[str, Tensor],
    axes: Mapping[str, Axes],
    outputs: Sequence[str],
) -> Any:
    with warnings.catch_warnings(action="ignore"):  # of the exporter about itself
        return torch.onnx.export(
            module,
            tuple(example.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes=tuple(dict(axes.get(name, {})) for name in example),
            verbose=False,
        )


@torch.no_grad()
def _difference(path: Path, module: nn.Module, inputs: Mapping[str, Tensor]) -> float:
    """Return the largest absolute difference between the file's outputs and the module's."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    ours = module(*inputs.values())
    ours = (ours,) if isinstance(ours, Tensor) else ours
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - torch.from_numpy(b)).abs().max()) for a, b in pairs)
