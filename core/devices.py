"""Which device computes, and on how many cores."""

import os

import torch

from core.errors import UserError


def pick_device(name: str) -> torch.device:
    """Return the device of that name, or for `auto` the fastest there is."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} cannot be used ({reason}); try --device cpu") from None
    return torch.device(name)


def check_accelerator(name: object) -> None:
    """Raise if training is to run on a GPU and there is none."""
    if name in ("gpu", "cuda", "mps") and not torch.accelerator.is_available():
        raise UserError(
            f"--trainer.accelerator is {name} but torch finds no GPU here; check the driver"
            " (nvidia-smi), take the configuration without _gpu, or add --trainer.accelerator=cpu"
        )


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    return [str(index) for index in range(torch.cuda.device_count())]
