"""Energy, time and peak memory of a stretch of work.

Where the machine exposes its counters they are read (RAPL for the CPU package, NVML for a GPU);
elsewhere CPU-seconds are multiplied by a stated power, and the source says so.
"""

import resource
import time
from pathlib import Path
from typing import Any

WATTS_PER_CPU = 10.0
"""Assumed power of one busy core where no counter is readable."""

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


class Meter:
    """Starts counting when made; `read` returns the costs so far."""

    def __init__(self):
        self.wall, self.cpu = time.monotonic(), _cpu_seconds()
        self.rapl, self.gpu = _rapl_joules(), _gpu_joules()

    def read(self) -> dict[str, Any]:
        """Return seconds, cpu_seconds, joules with their source, and peak memory in MiB."""
        cpu = _cpu_seconds() - self.cpu
        joules, source = self._joules(cpu)
        return {
            "seconds": round(time.monotonic() - self.wall, 3),
            "cpu_seconds": round(cpu, 3),
            "joules": round(joules, 1),
            "energy_source": source,
            "peak_memory_mb": round(peak_memory_mb(), 1),
        }

    def _joules(self, cpu: float) -> tuple[float, str]:
        rapl, gpu = _rapl_joules(), _gpu_joules()
        joules, source = cpu * WATTS_PER_CPU, f"CPU-seconds x {WATTS_PER_CPU:g} W (assumed)"
        if rapl is not None and self.rapl is not None and rapl >= self.rapl:
            joules, source = rapl - self.rapl, "RAPL package"
        if gpu is not None and self.gpu is not None:
            joules, source = joules + gpu - self.gpu, f"{source} + NVML"
        return joules, source


def peak_memory_mb() -> float:
    """Return the largest resident size of this process or any finished child, in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _rapl_joules() -> float | None:
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def _gpu_joules() -> float | None:
    import torch

    if not torch.cuda.is_available():
        return None
    try:
        import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
    except pynvml.NVMLError:
        return None
