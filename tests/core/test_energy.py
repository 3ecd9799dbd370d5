"""What a run costs is counted, from the machine's counters where it has them."""

import json

import pytest

import core.energy
from core.cost import SUMS
from core.energy import WATTS_PER_CPU, Meter
from tests.training import small_image


@pytest.fixture
def counters(tmp_path, monkeypatch):
    """Return a function that sets the counters of two CPU packages in J."""
    monkeypatch.setattr(core.energy, "POWERCAP", tmp_path)

    def turn(*joules):
        for number, value in enumerate(joules):
            for name in (f"intel-rapl:{number}", f"intel-rapl:{number}:0"):  # the package, a part
                (tmp_path / name).mkdir(exist_ok=True)
                (tmp_path / name / "energy_uj").write_text(f"{int(value * 1e6)}\n")
                (tmp_path / name / "max_energy_range_uj").write_text("1000000000\n")

    return turn


def test_the_packages_counters_add_up_also_when_they_start_anew(counters):
    counters(100, 990)
    meter = Meter()
    counters(130, 20)
    assert (meter.read()["joules"], meter.read()["energy_source"]) == (60, "RAPL package")
    counters(131, 19)  # so package 1 went round once more
    assert meter.read()["joules"] == 60 + 1 + 999


def test_without_counters_energy_is_cpu_seconds_at_a_stated_power(tmp_path, monkeypatch):
    monkeypatch.setattr(core.energy, "POWERCAP", tmp_path)
    meter = Meter()
    sum(i * i for i in range(300_000))
    cost = meter.read()
    assert cost["joules"] == pytest.approx(cost["cpu_seconds"] * WATTS_PER_CPU, abs=0.06)
    assert cost["joules"] > 0
    assert f"{WATTS_PER_CPU:g} W (assumed)" in cost["energy_source"]


def test_a_resumed_run_adds_to_its_bill(tiny_world, tmp_path):
    small_image(tiny_world, tmp_path, "--trainer.max_steps=3")
    before = json.loads((tmp_path / "cost.json").read_text())
    last = tmp_path / "last.ckpt"
    small_image(tiny_world, tmp_path, "--trainer.max_steps=5", f"--resume={last}")
    after = json.loads((tmp_path / "cost.json").read_text())
    assert (before["samples"], after["samples"], after["steps"]) == (12, 20, 5)
    assert all(after[name] > before[name] for name in SUMS)
    assert after["peak_memory_mb"] >= before["peak_memory_mb"] > 0
    assert after["samples_per_second"] == pytest.approx(20 / after["seconds"], rel=0.01)
