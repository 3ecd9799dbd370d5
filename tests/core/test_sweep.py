"""Sweeps over a quick trainer that leaves the files of a real one; and over the real ones."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import psutil
import pytest
import yaml

import core.sweep.__main__
import core.sweep.study
import core.sweep.workers
from core.cli import command, guard
from core.sweep.__main__ import arguments, sweep
from core.sweep.workers import share
from tests.training import SMALL_FLOW

ROOT = Path(__file__).resolve().parents[2]
QUICK = "tests.quick_trainer"
WIDE = "x: {low: 0.0, high: 4.0}\nnet.y: {low: 0.0, high: 1.0}\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(core.sweep.workers, "POLL", 0.05)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a space."""

    def write(text):
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return path

    return write


def rows(out):
    with (out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def values(out, *names):
    return [tuple(row[name] for name in names) for row in rows(out)]


def starts(out):
    """Return the step at which each start of each trial began, by trial."""
    files = sorted((out / "trials").glob("*/starts.txt"))
    return {
        int(f.parent.name): [int(w.split()[0]) for w in f.read_text().splitlines()] for f in files
    }


def start(space, out, *more):
    """Start a sweep as a process of its own."""
    told = ["--trainer", QUICK, "--space", str(space), "--out", str(out), *more]
    return subprocess.Popen([sys.executable, "-m", "core.sweep", *told], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def wait_for(happened, seconds=600.0):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def trainers_in(out):
    lines = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if QUICK in line and str(out) in " ".join(line)]


def test_a_grid_visits_each_combination_once_with_two_workers(write, tmp_path):
    space = write("x: {low: 0.0, high: 4.0, points: 3}\nnet.y: {choices: [0.5, 1.0]}\n")
    sweep(QUICK, space, out=tmp_path / "out", sampler="grid", pruner="none", workers=2)
    found = values(tmp_path / "out", "x", "net.y", "state")
    assert found == [(x, y, "complete") for x in ("0.0", "2.0", "4.0") for y in ("0.5", "1.0")]
    assert starts(tmp_path / "out") == {number: [0] for number in range(6)}


def test_the_report_names_the_best_and_what_mattered(write, tmp_path, capsys):
    space = write("x: {low: 0.0, high: 4.0, points: 3}\nnet.y: {choices: [0.5, 1.0]}\n")
    out = tmp_path / "out"
    sweep(QUICK, space, out=out, sampler="grid", pruner="none", options=("steps=1",))
    said = capsys.readouterr().out
    assert yaml.safe_load((out / "best.yaml").read_text()) == {"x": 2.0, "net": {"y": 0.5}}
    assert f"python -m {QUICK} --config {out}/best.yaml --steps=1 --out {out}/best" in said
    shares = dict(
        pair.split()
        for pair in said.partition("importance over 6 trials: ")[2].splitlines()[0].split(", ")
    )
    assert float(shares["x"]) > 2 * float(shares["net.y"])
    for name in ("importance", "history", "slices"):
        assert "<svg" in (out / f"{name}.svg").read_text()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_sweep_in_two_parts_draws_what_one_in_a_whole_draws(write, tmp_path, sampler):
    def draw(name, *counts, seed=0):
        for count in counts:
            sweep(QUICK, write(WIDE), out=tmp_path / name, trials=count, sampler=sampler,
                  startup=2, options=("steps=1",), seed=seed)  # fmt: skip
        return values(tmp_path / name, "x", "net.y")

    whole = draw("whole", 4)
    assert draw("parts", 1, 4) == whole
    assert len(set(whole)) == 4
    assert draw("other", 1, seed=1)[0] != whole[0]


def test_tpe_searches_where_good_trials_lie(write, tmp_path):
    space = write("x: {low: 0.0, high: 4.0}\n")
    sweep(QUICK, space, out=tmp_path, trials=14, startup=5, options=("steps=1",))
    distance = [abs(float(x) - 2) for (x,) in values(tmp_path, "x")]
    assert median(distance[5:]) < median(distance[:5]) / 2


def test_a_hopeless_trial_is_stopped_and_leaves_a_checkpoint(write, tmp_path, capsys):
    out = tmp_path / "out"
    space = write("x: {choices: [2.0, 2.1, 9.0]}\n")
    sweep(QUICK, space, out=out, sampler="grid", startup=2, options=("steps=40", "pause=0.05"))
    assert [state for (state,) in values(out, "state")] == ["complete", "complete", "pruned"]
    assert 2 <= len((out / "trials/0002/metrics.csv").read_text().splitlines()) - 1 < 40
    assert (out / "trials/0002/last.ckpt").is_file()
    assert "pruned at val/loss" in capsys.readouterr().out


@pytest.mark.parametrize("pruner", ["none", "hyperband"])
def test_other_pruners_let_good_trials_live(write, tmp_path, pruner):
    space = write("x: {choices: [2.0, 2.1, 9.0]}\n")
    sweep(QUICK, space, out=tmp_path, sampler="grid", pruner=pruner, options=("steps=9",))
    states = [state for (state,) in values(tmp_path, "state")]
    assert states[0] == "complete"
    assert pruner == "hyperband" or states == ["complete"] * 3


@pytest.mark.parametrize(("judged", "direction", "best"), [
    ("last", "minimize", 1.0), ("best", "minimize", 1.0), ("best", "maximize", 2.0)
])  # fmt: skip
def test_the_objective_is_the_last_or_the_best_value_of_a_run(
    write, tmp_path, judged, direction, best
):
    space = write("net.y: {choices: [1.0, 2.0]}\n")
    sweep(QUICK, space, out=tmp_path, sampler="grid", pruner="none", judged=judged,
          direction=direction, options=("x=2", "steps=4"))  # fmt: skip
    step = 1 if (judged, direction) == ("best", "maximize") else 4
    assert [float(v) for (v,) in values(tmp_path, "value")] == [1 + 1 / step, 2 + 1 / step]
    assert yaml.safe_load((tmp_path / "best.yaml").read_text()) == {"net": {"y": best}}


def test_trials_that_fail_are_marked_and_the_others_go_on(write, tmp_path):
    space = write("mode: {choices: [plain, crash, diverge, nan]}\n")
    sweep(QUICK, space, out=tmp_path, sampler="grid", pruner="none")
    assert values(tmp_path, "mode", "state", "error") == [
        ("plain", "complete", ""),
        ("crash", "failed", "RuntimeError: the network fell over"),
        ("diverge", "failed", "the gradient of step 2 is not finite"),
        ("nan", "failed", "val/loss is nan"),
    ]


def test_a_wrong_option_ends_the_sweep_with_the_trials_own_line(write, tmp_path, capsys):
    out, space = tmp_path / "out", write("x: {low: 0.0, high: 4.0}\n")
    with pytest.raises(SystemExit) as stop:
        guard(lambda: sweep(QUICK, space, out=out, options=("stepz=1",), trials=9))
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --stepz=1\n"
    assert len(list((out / "trials").iterdir())) == 1
    sweep(QUICK, space, out=out, options=("steps=1",), trials=2)  # the same folder, put right
    assert [state for (state,) in values(out, "state")] == ["complete"] * 2


def test_an_objective_that_is_not_measured_is_named_with_those_that_are(write, tmp_path):
    space = write("x: {low: 0.0, high: 4.0}\n")
    with pytest.raises(ValueError, match="no 'val/los'; choose --objective from: train/loss, val/"):
        sweep(QUICK, space, out=tmp_path, objective="val/los", trials=3)


def test_another_search_in_the_same_study_is_refused(write, tmp_path):
    told = {"trainer": QUICK, "out": tmp_path / "out", "trials": 1, "options": ("steps=1",)}
    space = write("x: {low: 0.0, high: 4.0}\n")
    sweep(space=space, **told)
    for name, value in {"options": ("steps=2",), "seed": 1, "objective": "train/loss",
                        "sampler": "random", "trainer": "tests.kills"}.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"was begun with {name} .*; choose another --study"):
            sweep(space=space, **(told | {name: value}))
    with pytest.raises(ValueError, match="was begun with space"):
        sweep(space=write("x: {low: 0.0, high: 5.0}\n"), **told)
    with pytest.raises(ValueError, match="holds the trials of another study"):
        sweep(space=space, **(told | {"study": "second"}))


def test_a_configuration_that_changed_is_another_search(write, tmp_path):
    space, config = write("x: {low: 0.0, high: 4.0}\n"), tmp_path / "config.yaml"
    config.write_text("steps: 1\n")
    sweep(QUICK, space, configs=(config,), out=tmp_path / "out", trials=1)
    config.write_text("steps: 2\n")
    with pytest.raises(ValueError, match="was begun with config"):
        sweep(QUICK, space, configs=(config,), out=tmp_path / "out", trials=1)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"trainer": "image.trian"}, "trainer 'image.trian' is no module here"),
        ({"trainer": "nowhere.train"}, "trainer 'nowhere.train' is no module here"),
        ({"configs": (Path("configs/no.yaml"),)}, "configs/no.yaml does not exist"),
        ({"options": ("steps",)}, "option 'steps' must be name=value"),
        ({"options": ("x=1",)}, "option x is fixed and in the space"),
        ({"options": ("out=a",)}, "option out is given to each trial by the sweep"),
        ({"trials": 0}, "trials is 0"),
        ({"trials": 9, "sampler": "grid"}, "trials is 9 but the grid has 2 combinations"),
        ({"workers": 0}, "workers is 0"),
        ({"startup": 0}, "startup is 0"),
        ({"storage": "nothing"}, "storage 'nothing' cannot be opened"),
        ({"storage": "sqlite:////proc/no/study.db"}, "/proc/no"),
        ({"storage": "nosuch://me:secret@host/db"}, "'nosuch://me:***@host/db' cannot be opened"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(write, tmp_path, capsys, told, said):
    space = write("x: {choices: [1.0, 2.0]}\n")
    with pytest.raises(SystemExit) as stop:
        guard(lambda: sweep(**({"trainer": QUICK, "space": space, "out": tmp_path / "o"} | told)))
    line = capsys.readouterr().err
    assert stop.value.code == 2
    assert said in line
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert not (tmp_path / "o/trials").exists()


def test_without_optuna_the_way_out_is_said(write, tmp_path, monkeypatch):
    monkeypatch.setattr(core.sweep.__main__, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install optuna"):
        sweep(QUICK, write("x: {choices: [1.0]}\n"), out=tmp_path)


def test_lists_are_taken_as_the_trainers_take_them():
    told = "--config a.yaml --space s.yaml --config=b.yaml --options --a.b=[1,2] c.d=3 --trials 4"
    assert arguments(told.split()) == [
        "--space", "s.yaml", "--trials", "4",
        '--configs=["a.yaml", "b.yaml"]', '--options=["--a.b=[1,2]", "c.d=3"]',
    ]  # fmt: skip


def test_the_command_line_reaches_the_trainer(write, tmp_path, monkeypatch):
    config = tmp_path / "config.yaml"
    config.write_text("steps: 2\n")
    told = f"--trainer {QUICK} --config {config} --space {write(WIDE)} --out {tmp_path}/out"
    command(sweep, arguments([*told.split(), "--trials", "1", "--options", "pause=0.01"]))
    begun = json.loads((tmp_path / "out/trials/0000/command.json").read_text())["command"]
    assert begun[:3] == [QUICK, "--config", str(config)]
    assert "--pause=0.01" in begun
    assert values(tmp_path / "out", "validations") == [("2",)]


def test_a_killed_sweep_goes_on_with_no_trial_lost_or_doubled(write, tmp_path):
    out, space = tmp_path / "out", write(WIDE)
    told = (
        "--trials",
        "4",
        "--workers",
        "2",
        "--pruner",
        "none",
        "--options",
        "steps=15",
        f"until={tmp_path / 'go'}",
    )
    first = start(space, out, *told)
    wait_for(lambda: len(list(out.glob("trials/*/last.ckpt"))) == 2)
    first.kill()
    first.communicate()
    assert len(trainers_in(out)) == 2  # nobody told them
    second = start(space, out, *told)
    wait_for(lambda: [len(begun) for begun in starts(out).values()][:2] == [2, 2])
    (tmp_path / "go").touch()
    second.communicate(timeout=600)
    assert second.returncode == 0
    assert values(out, "number", "state", "validations") == [
        (str(number), "complete", "15") for number in range(4)
    ]
    for number, begun in starts(out).items():
        assert len(begun) == (2 if number < 2 else 1)
        assert begun[-1] > 0 or number >= 2  # gone on with, from its own checkpoint
        lines = (out / f"trials/{number:04d}/metrics.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in lines[1:]] == [str(i) for i in range(1, 16)]
    assert trainers_in(out) == []


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_sweep_told_to_leave_lets_its_trials_save(write, tmp_path, number):
    out, space = tmp_path / "out", write(WIDE)
    options = ("steps=20", f"until={tmp_path / 'go'}")
    told = ("--trials", "2", "--workers", "2", "--options", *options)
    first = start(space, out, *told)
    wait_for(lambda: len(list(out.glob("trials/*/last.ckpt"))) == 2)
    first.send_signal(number)
    said = first.communicate(timeout=600)[1]
    assert first.returncode == 128 + number
    assert "the same command goes on" in said
    assert trainers_in(out) == []
    assert [state for (state,) in values(out, "state")] == ["waiting"] * 2
    (tmp_path / "go").touch()
    sweep(QUICK, space, out=out, trials=2, options=options)
    assert all(begun[0] == 0 < begun[1] for begun in starts(out).values())


def test_two_commands_share_one_study(write, tmp_path):
    out, space = tmp_path / "out", write(WIDE)
    told = ("--trials", "4", "--pruner", "none", "--options", "steps=2", "pause=0.1")
    both = [start(space, out, *told) for _ in range(2)]
    said = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert values(out, "number", "state") == [(str(n), "complete") for n in range(4)]
    assert starts(out) == {number: [0] for number in range(4)}
    assert all("trial " in text for text in said)


def test_a_trial_of_another_machine_is_taken_over_once_it_is_silent(write, tmp_path, monkeypatch):
    space, told = write(WIDE), {"out": tmp_path / "out", "options": ("steps=1",)}
    sweep(QUICK, space, trials=1, **told)
    ledger = ledger_of(space, trials=2, **told)
    ledger.me = {"host": "another", "pid": 1, "started": 0.0}
    taken = ledger.take()
    assert taken.number == 1
    assert ledger.take() is None  # it lives, as far as anyone knows
    monkeypatch.setattr(core.sweep.study, "GRACE", 0.2)
    sweep(QUICK, space, trials=2, **told)
    assert values(tmp_path / "out", "number", "state") == [("0", "complete"), ("1", "complete")]
    ledger.beats.clear()
    assert not ledger.beat(taken)  # should the other machine wake, it leaves the trial alone


def test_a_trial_beyond_the_last_is_given_up_by_who_took_it(write, tmp_path, monkeypatch):
    told = {"out": tmp_path / "out", "options": ("steps=1",)}
    one, other = (ledger_of(write(WIDE), trials=1, **told) for _ in range(2))
    monkeypatch.setattr(one, "trials", list)  # it looks just before the other takes the last one
    assert other.take().number == 0
    assert one.take() is None
    assert [trial.number for trial in other.trials()] == [0]
    assert ledger_of(write(WIDE), trials=2, **told).take().number == 2  # the place is not lost


def ledger_of(space, *, trials, out, options):
    """Return the ledger of the sweep that these arguments ask for."""
    plans = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.sweep.__main__, "run", lambda plan, *_: plans.append(plan))
        sweep(QUICK, space, trials=trials, out=out, options=options)
    out.mkdir(exist_ok=True)
    return core.sweep.study.Ledger(plans[0], f"sqlite:///{out}/study.db", out.name)


def test_each_worker_of_several_gpus_has_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [share(worker, 3)["CUDA_VISIBLE_DEVICES"] for worker in range(3)] == ["2", "5", "2"]
    assert "CUDA_VISIBLE_DEVICES" not in share(0, 1)


def test_a_worker_has_its_share_of_the_cores_unless_the_environment_says(monkeypatch):
    monkeypatch.setattr(core.sweep.workers, "usable_cores", lambda: 7)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert share(0, 2)["OMP_NUM_THREADS"] == "1"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [share(0, n)["OMP_NUM_THREADS"] for n in (1, 2, 8)] == ["7", "3", "1"]


def image_options(world, steps):
    tiny = ["data.batch_size=4", "trainer.accelerator=cpu", "samples=1", f"data.root={world}"]
    often = ["trainer.val_check_interval=2", "trainer.limit_val_batches=1", "save_every=1"]
    return tuple([*tiny, *often, f"trainer.max_steps={steps}", *SMALL_FLOW])


def test_the_best_overlay_trains_the_best_trial_again(write, tmp_path, tiny_world):
    space = write("model.optim.rule.lr: {choices: [0.000001, 0.01]}\n")
    out, told = tmp_path / "out", image_options(tiny_world, 6)
    sweep("image.train", space, out=out, sampler="grid", pruner="none", options=told)
    assert [state for (state,) in values(out, "state")] == ["complete"] * 2
    best = (out / "best.yaml").read_text().splitlines()
    losses = [float(value) for (value,) in values(out, "value")]
    number = losses.index(min(losses))
    words = [sys.executable, *best[1].split()[2:]]
    subprocess.run(words, check=True, capture_output=True)
    again, trial = (out / "best/metrics.csv"), out / f"trials/{number:04d}/metrics.csv"
    assert again.read_text() == trial.read_text()


def kill_after_a_checkpoint(process, out):
    """Kill a sweep when a trial has saved once more; tell whether there was still one to kill."""
    before = saves(out)
    wait_for(lambda: process.poll() is not None or saves(out) != before)
    process.kill()
    process.communicate()
    return process.returncode != 0


def saves(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("trials/*/last.ckpt")}


@pytest.mark.slow
def test_a_killed_sweep_of_images_ends_as_an_undisturbed_one(write, tmp_path, tiny_world):
    space = write("model.optim.rule.lr: {choices: [0.001, 0.01]}\n")
    told = image_options(tiny_world, 40)
    sweep("image.train", space, out=tmp_path / "whole", sampler="grid", pruner="none", options=told)
    words = [
        "--sampler",
        "grid",
        "--pruner",
        "none",
        "--trainer",
        "image.train",
        "--options",
        *told,
    ]
    out, kills = tmp_path / "broken", 0
    while kills < 5 and kill_after_a_checkpoint(start(space, out, *words), out):
        kills += 1
    assert start(space, out, *words).wait() == 0
    assert kills > 1
    assert values(out, "number", "value") == values(tmp_path / "whole", "number", "value")


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    ["text/world", "image/world", "audio/world", "audio/vocoder_world", "video/world",
     "multimodal/world", "multimodal/prior_world"],
)  # fmt: skip
def test_every_trainer_can_be_swept(write, tmp_path, tiny_world, config):
    path = ROOT / f"configs/{config}.yaml"
    trainer = path.read_text().splitlines()[0].split()[3]
    root = tiny_world / "embeddings" if "prior" in config else tiny_world
    more = ("model.embedding=8",) if "prior" in config else ()
    space = write("model.optim.schedule.decay: {choices: [0.1, 0.2]}\n")
    sweep(trainer, space, configs=(path, ROOT / "configs/smoke.yaml"), out=tmp_path / "out",
          options=(f"data.root={root}", *more), sampler="grid", pruner="none")  # fmt: skip
    assert [state for (state,) in values(tmp_path / "out", "state")] == ["complete"] * 2
