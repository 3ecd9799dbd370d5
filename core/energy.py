"""Energy, time and peak memory of a stretch of work.

Where the machine exposes its counters they are read (RAPL for the CPU packages, NVML for a GPU);
elsewhere CPU-seconds are multiplied by a stated power, and the source says so.
"""

import resource
import time
from pathlib import Path
from typing import Any

WATTS_PER_CPU = 10.0
"""Assumed power of one busy core where no counter is readable."""

POWERCAP = Path("/sys/class/powercap")
"""Where Linux keeps RAPL's counters, a folder a CPU package."""


class Meter:
    """Starts counting when made; `read` returns the costs so far.

    RAPL's counters start anew after about an hour of hard work: read at least that often.
    """

    def __init__(self, *, packages: bool = True):
        """Start counting.

        Args:
            packages: Count the machine's CPU packages; of several processes on it only one does.
        """
        self.wall, self.cpu = time.monotonic(), _cpu_seconds()
        self.packages = _package_joules() if packages else {}
        self.package_joules = 0.0
        self.gpu = _gpu_joules()

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
        joules, source = cpu * WATTS_PER_CPU, f"CPU-seconds x {WATTS_PER_CPU:g} W (assumed)"
        if self.packages:
            self._advance()
            joules, source = self.package_joules, "RAPL package"
        gpu = _gpu_joules()
        if gpu is not None and self.gpu is not None:
            joules, source = joules + gpu - self.gpu, f"{source} + NVML"
        return joules, source

    def _advance(self) -> None:
        """Add what the packages took since the last time."""
        now = _package_joules()
        for package, (joules, span) in now.items():
            before = self.packages.get(package, (joules, span))[0]
            self.package_joules += joules - before if joules >= before else joules - before + span
        self.packages = now


def peak_memory_mb() -> float:
    """Return the largest resident size of this process or any finished child, in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _package_joules() -> dict[str, tuple[float, float]]:
    """Return counter and range of each CPU package in J; nothing where they cannot be read."""
    found = {}
    for package in sorted(POWERCAP.glob("intel-rapl:*")):
        if package.name.count(":") > 1:
            continue  # a part of a package
        try:
            values = [
                int((package / name).read_text()) / 1e6
                for name in ("energy_uj", "max_energy_range_uj")
            ]
        except (OSError, ValueError):
            continue
        found[package.name] = (values[0], values[1])
    return found


def _gpu_joules() -> float | None:
    """Return the counter of this process's GPU in J; None without one that counts."""
    import torch

    if not torch.cuda.is_available():
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(_uuid(torch.cuda.current_device()))
        return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
    except pynvml.NVMLError:
        return None


def _uuid(device: int) -> str:
    """Name a GPU as NVML does, which numbers all of the machine's, not only the visible ones."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
