"""The comparison: one form of samples for every system, one measure, errors that help."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from papers.polymnist_2023.evaluate import (
    conditional,
    evaluate,
    joint_coherence,
    measure,
    measure_real,
)
from papers.polymnist_2023.peers import OURS, check_interpreter, our_seconds
from papers.polymnist_2023.readers import ViewReader, load_readers, readers
from papers.polymnist_2023.reproduce import chain, our_stages, peer_stages, reproduce
from papers.polymnist_2023.samples import load_samples, name, save_samples, subsets
from papers.polymnist_2023.shards import shards
from papers.polymnist_2023.views import PIXELS, VIEWS


class Painted:
    """A reader of plain pictures whose brightness is their digit."""

    def predict(self, signal):
        return {"digit": ((signal.mean(dim=(1, 2, 3)) + 1) * 5).round().long()}

    def features(self, signal):
        return signal.flatten(1)

    def size(self, signal):
        return signal.mean(dim=(1, 2, 3))


def paint(digits):
    return (digits / 5 - 1)[:, None, None, None].expand(-1, 3, PIXELS, PIXELS)


READERS = {view: Painted() for view in VIEWS}
DIGITS = torch.arange(40) % 10


def test_there_are_31_subsets_and_80_directions():
    directions = [name(given, view) for given, wanted in subsets() for view in wanted]
    assert len(list(subsets())) == 31
    assert len(set(directions)) == len(directions) == 80


def test_views_that_show_the_sources_digit_are_all_coherent_and_others_are_not():
    right = {name(g, v): paint(DIGITS) for g, wanted in subsets() for v in wanted}
    wrong = {key: paint((DIGITS + 1) % 10) for key in right}
    for samples, share in ((right, 1.0), (wrong, 0.0)):
        found = conditional(READERS, samples, DIGITS, seed=0)
        assert {size: row["coherence"] for size, row in found.items()} == dict.fromkeys(
            "1234", share
        )


def test_one_view_that_differs_breaks_a_joint_sample_and_one_digit_alone_is_told():
    same = {view: paint(DIGITS) for view in VIEWS}
    assert joint_coherence(READERS, same, DIGITS) == {"coherence": 1.0, "total_variation": 0.0}
    half = torch.where(torch.arange(40) < 20, DIGITS, (DIGITS + 1) % 10)
    assert joint_coherence(READERS, same | {"m3": paint(half)}, DIGITS)["coherence"] == 0.5
    collapsed = {view: paint(torch.ones(40)) for view in VIEWS}
    assert joint_coherence(READERS, collapsed, DIGITS) == {
        "coherence": 1.0,
        "total_variation": pytest.approx(0.9),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run with a world, readers and the samples of two systems, one of them real views."""
    run = tmp_path_factory.mktemp("run")
    shards(run / "data", train=8, readers=8, val=4, test=24)
    for view in VIEWS:
        torch.manual_seed(0)
        (run / "readers").mkdir(exist_ok=True)
        save_file(ViewReader().state_dict(), run / "readers" / f"{view}.safetensors")
    generator = torch.Generator().manual_seed(0)
    for system in ("ours", "mopoe"):
        made = {
            name(g, v): torch.rand(12, 3, PIXELS, PIXELS, generator=generator) * 2 - 1
            for g, wanted in subsets()
            for v in wanted
        }
        save_samples(run / system / "samples.npz", made)
    (run / "mopoe" / "training.json").write_text(
        json.dumps({"steps": 300, "epochs": 7.7, "cpu_seconds": 480.0})
    )
    return run


def test_systems_are_read_by_the_same_readers_into_one_table(run, tmp_path):
    evaluate(run, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["systems"]) == {"ours", "mopoe"}
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| mopoe | 300 (7.7) | 480 |" in table
    assert table.splitlines()[-1].startswith("| real |")
    assert (tmp_path / "out" / "grid.png").is_file()


def test_real_views_as_samples_reach_the_floor(run):
    from papers.polymnist_2023.data import load_views

    opened, test = load_readers(run / "readers"), load_views(run / "data" / "test")
    real = measure_real(opened, test, 12)
    copied = {name(g, v): test.pictures[v][:12] for g, wanted in subsets() for v in wanted}
    found = measure(opened, copied, test, real["reference"], seed=0)
    assert found["frechet"]["joint"] == pytest.approx(real["numbers"]["frechet"])
    assert found["recall"]["joint"] == real["numbers"]["recall"]


def test_samples_come_back_as_they_were_to_a_byte(run, tmp_path):
    samples = load_samples(run / "ours" / "samples.npz")
    save_samples(tmp_path / "again.npz", samples)
    again = load_samples(tmp_path / "again.npz")
    assert all(torch.equal(samples[key], again[key]) for key in samples)


def test_readers_train_and_open_again(run, tmp_path):
    readers(run / "data", tmp_path / "r", steps=2)
    assert set(json.loads((tmp_path / "r" / "readers.json").read_text())["test"]) == set(VIEWS)
    assert load_readers(tmp_path / "r").keys() == set(VIEWS)


def test_samples_that_lack_a_direction_are_refused(tmp_path):
    np.savez(tmp_path / "samples.npz", **{">m0": np.zeros((1, 3, 2, 2), np.uint8)})
    with pytest.raises(ValueError, match=r"lacks .* and 78 other directions; generate again"):
        load_samples(tmp_path / "samples.npz")


def test_a_run_without_samples_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no .*samples\.npz; generate them with"):
        evaluate(tmp_path, tmp_path / "out")


def test_an_interpreter_that_is_not_there_is_refused_with_the_way_to_make_one(tmp_path):
    with pytest.raises(ValueError, match="is no interpreter; make one with: python -m venv"):
        check_interpreter(tmp_path / "python")


def test_equal_compute_is_the_sum_of_our_stages(tmp_path):
    with pytest.raises(ValueError, match="equal compute is unknown"):
        our_seconds(tmp_path)
    for stage in OURS:
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "done.json").write_text(json.dumps({"cpu_seconds": 100.5}))
    assert our_seconds(tmp_path) == 402.0


def test_stages_run_one_after_another(tmp_path):
    plan = our_stages(tmp_path, [], False, 0)
    plan += peer_stages(tmp_path, tmp_path, None, ("mopoe",), False, 0)
    names = [stage.name for stage in plan]
    assert [stage.needs for stage in chain(plan)] == [(), *[(name,) for name in names[:-1]]]


def test_a_peer_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="jmvae is no peer; choose from mopoe"):
        reproduce(tmp_path, peers=("jmvae",))
