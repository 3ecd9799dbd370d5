"""The runner of stages: keys, order, skipping, resuming, failing."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.cli import command
from multimodal import quickstart as runner
from multimodal import stages as planning
from multimodal.progress import makespan
from multimodal.quickstart import Runner, quickstart, training_seconds, world_options
from multimodal.stages import Stage, stages

NAMES = ("alignment", "prior", "text", "image", "audio", "video")


class Script(Stage):
    """A stage that runs a line of Python, with its folder and whether it resumes as arguments."""

    def command(self, folder: Path, resume: bool) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-c", self.arguments[0], str(folder), str(resume)]


def script(name, code="pass", needs=(), **more):
    return Script(name, (f"import sys, time\n{code}",), needs=needs, packages=(), **more)


def note(name):
    """Return code that notes in the run's folder that a stage ran, and whether it resumed."""
    return (
        "import pathlib; out = pathlib.Path(sys.argv[1]).parent\n"
        f"with (out / 'notes').open('a') as f: f.write('{name} ' + sys.argv[2] + '\\n')"
    )


def notes(out):
    return (out / "notes").read_text().split("\n")[:-1]


def run(out, plan, jobs=2):
    work = Runner(out, plan, jobs)
    work.run()
    return work.rows


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return a small repository in which stages find their code and configurations."""
    for file in ("core/flow.py", "image/model.py", "audio/model.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("x = 1\n")
    (tmp_path / "configs").mkdir()
    for name in ("defaults", "image"):
        (tmp_path / "configs" / f"{name}.yaml").write_text("a: 1\n")
    monkeypatch.setattr(planning, "ROOT", tmp_path)
    return tmp_path


IMAGE = Stage(
    "image",
    ("image.train", "--config", "configs/image.yaml"),
    needs=("world",),
    packages=("core", "image"),
)


def test_a_key_stays_while_nothing_that_a_result_rests_on_changes(repository):
    key = IMAGE.key({"world": "1"})
    (repository / "audio/model.py").write_text("x = 2\n")
    (repository / "image/notes.txt").write_text("hello")
    (repository / "image/model.py").touch()
    assert IMAGE.key({"world": "1"}) == key
    assert replace(IMAGE, minutes=9.0).key({"world": "1"}) == key


@pytest.mark.parametrize(
    "file", ["image/model.py", "core/flow.py", "configs/image.yaml", "configs/defaults.yaml"]
)
def test_a_key_changes_with_the_code_and_the_configurations(repository, file):
    key = IMAGE.key({"world": "1"})
    (repository / file).write_text("x: 2\n")
    assert IMAGE.key({"world": "1"}) != key


def test_a_key_changes_with_the_arguments_and_with_what_is_needed(repository):
    keys = {IMAGE.key({"world": "1"}), IMAGE.key({"world": "2"})}
    keys.add(replace(IMAGE, arguments=(*IMAGE.arguments, "--seed=1")).key({"world": "1"}))
    assert len(keys) == 3


@pytest.mark.parametrize("preset", ["cpu", "gpu"])
def test_the_plan_trains_every_model_with_configurations_that_exist(preset):
    plan = stages(Path("runs/x"), preset, smoke=False)
    names = [stage.name for stage in plan]
    assert set(NAMES) < set(names)
    assert len(set(names)) == len(names)
    for stage in plan:
        assert set(stage.needs) <= set(names)
        assert all(path.is_file() for path in stage.configs)
        assert (stage.kind == "train") == bool(stage.configs)


def test_a_training_stage_resumes_in_its_own_folder():
    command_line = IMAGE.command(Path("runs/x/image"), resume=True)
    assert command_line[1:3] == ["-m", "image.train"]
    assert command_line[-4:] == ["--out", "runs/x/image", "--resume", "runs/x/image/last.ckpt"]
    assert "--resume" not in IMAGE.command(Path("runs/x/image"), resume=False)


def test_a_stage_runs_in_any_folder_on_the_configurations_that_come_with_us(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for stage in stages(Path("runs/x"), "cpu", smoke=True):
        words = stage.launched(Path("runs/x") / stage.name, resume=False)
        ours = [word for word in words if word.endswith((".yaml", "fixtures"))]
        assert all(Path(word).is_absolute() and Path(word).exists() for word in ours)
        assert bool(ours) == (stage.kind == "train" or stage.name == "evaluate")
        assert any(word.startswith("runs/x/") for word in words) or stage.name == "evaluate"


def test_a_stage_runs_the_code_of_this_checkout_and_writes_into_the_folder_it_is_called_in(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    code = "import core, pathlib; pathlib.Path(sys.argv[1], 'it').write_text(core.__file__)"
    run(Path("my rün"), [script("a", code)])
    assert (tmp_path / "my rün/a/it").read_text() == str(planning.ROOT / "core/__init__.py")


def test_stages_run_after_those_they_need(tmp_path):
    plan = [
        script("last", note("last"), needs=("first", "second")),
        script("second", note("second"), needs=("first",)),
        script("first", note("first")),
    ]
    rows = run(tmp_path, plan)
    assert notes(tmp_path) == ["first False", "second False", "last False"]
    assert rows.keys() == {"first", "second", "last"}
    assert all(row["cpu_seconds"] >= 0 and row["peak_memory_mb"] > 1 for row in rows.values())


MEET = """
import pathlib
out = pathlib.Path(sys.argv[1]).parent
(out / f"{name}.begun").touch()
while not (out / f"{other}.begun").exists():
    time.sleep(0.02)
"""
"""Ends only once another stage has begun."""


def test_nothing_runs_beside_a_stage_that_takes_all_cores(tmp_path):
    clock = "import pathlib; out = pathlib.Path(sys.argv[1]).parent\n"
    span = "start = time.time(); name = pathlib.Path(sys.argv[1]).name\n"
    note = "(out / name).with_suffix('.txt').write_text(f'{start} {time.time()}')"
    together = [f"name, other = {a!r}, {b!r}\n{clock}{span}{MEET}{note}" for a, b in ("cd", "dc")]
    plan = [script("a", clock + span + note), script("b", clock + span + note, alone=True)]
    plan += [script(name, code) for name, code in zip("cd", together, strict=True)]
    run(tmp_path, plan)  # where c and d were not side by side this would not end
    spans = {n: [float(x) for x in (tmp_path / f"{n}.txt").read_text().split()] for n in "abcd"}
    begin, end = spans.pop("b")
    assert all(other[1] <= begin or other[0] >= end for other in spans.values())


def test_a_finished_stage_is_skipped(tmp_path):
    plan = [script("a", note("a")), script("b", note("b"), needs=("a",))]
    first, second = run(tmp_path, plan), run(tmp_path, plan)
    assert notes(tmp_path) == ["a False", "b False"]
    assert not any(row["skipped"] for row in first.values())
    assert all(row["skipped"] for row in second.values())
    assert second["a"]["seconds"] == first["a"]["seconds"]


def test_a_changed_stage_runs_again_and_so_do_those_that_need_it(tmp_path):
    old = [script("a", note("a")), script("b", note("b"), needs=("a",)), script("c", note("c"))]
    run(tmp_path, old, jobs=1)
    run(tmp_path, [script("a", note("a") + "\npass"), *old[1:]], jobs=1)
    assert sorted(notes(tmp_path)) == ["a False", "a False", "b False", "b False", "c False"]


def test_an_interrupted_stage_resumes_from_its_checkpoint(tmp_path):
    code = f"{note('a')}\npathlib.Path(sys.argv[1], 'last.ckpt').touch()\n"
    fails_once = f"{code}sys.exit(0 if sys.argv[2] == 'True' else 1)"
    with pytest.raises(RuntimeError, match="stopped with code 1"):
        run(tmp_path, [script("a", fails_once)])
    run(tmp_path, [script("a", fails_once)])
    assert notes(tmp_path) == ["a False", "a True"]


def test_what_an_older_version_left_behind_is_not_resumed(tmp_path):
    code = f"{note('a')}\npathlib.Path(sys.argv[1], 'last.ckpt').touch()\nsys.exit(1)"
    with pytest.raises(RuntimeError, match="stopped with code 1"):
        run(tmp_path, [script("a", code)])
    run(tmp_path, [script("a", note("a"))])
    assert notes(tmp_path) == ["a False", "a False"]
    assert not (tmp_path / "a" / "last.ckpt").exists()


def test_a_failing_stage_stops_the_command_with_its_last_line(tmp_path, monkeypatch, capsys):
    code = "print('error: the disk is full; free some space', file=sys.stderr); sys.exit(2)"
    plan = [script("world", note("world")), script("image", code, needs=("world",))]
    plan.append(script("video", note("video"), needs=("image",)))
    monkeypatch.setattr(runner, "stages", lambda *_: plan)
    with pytest.raises(SystemExit) as stop:
        command(quickstart, ["--out", str(tmp_path / "run")])
    assert stop.value.code == 2
    log = tmp_path / "run" / "logs" / "image.txt"
    assert capsys.readouterr().err == (
        f"error: stage image stopped with code 2: the disk is full; free some space; see {log}\n"
    )
    assert notes(tmp_path / "run") == ["world False"]
    assert not (tmp_path / "run" / "report.json").exists()


def test_a_failure_stops_the_stages_beside_it(tmp_path):
    plan = [script("slow", "time.sleep(3600)"), script("bad", "sys.exit(2)")]
    with pytest.raises(ValueError, match=r"stage bad stopped with code 2: \(it wrote nothing\)"):
        run(tmp_path, plan)
    assert not (tmp_path / "slow" / "done.json").exists()


def test_no_stage_at_a_time_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "stages", lambda *_: [])
    with pytest.raises(SystemExit) as stop:
        command(quickstart, ["--out", str(tmp_path), "--jobs=-1"])
    assert stop.value.code == 2
    assert "jobs is -1 but at least 1 stage must run" in capsys.readouterr().err


def test_done_stages_keep_a_record_with_their_key(tmp_path):
    plan = [script("a")]
    run(tmp_path, plan)
    record = json.loads((tmp_path / "a" / "done.json").read_text())
    assert record["key"] == plan[0].key({})
    assert record["name"] == "a"


def timed(name, minutes, needs=()):
    return Stage(name, (name,), needs=needs, minutes=minutes)


CHAIN = [timed("a", 1.0), timed("b", 2.0, ("a",)), timed("c", 4.0, ("b",))]
FREE = [timed("a", 3.0), timed("b", 3.0), timed("c", 3.0), timed("d", 3.0)]


@pytest.mark.parametrize(
    ("plan", "jobs", "minutes"),
    [(CHAIN, 1, 7), (CHAIN, 2, 7), (FREE, 1, 12), (FREE, 2, 6), (FREE, 3, 6), (FREE, 4, 3)],
)
def test_the_makespan_is_that_of_the_busiest_lane(plan, jobs, minutes):
    assert makespan(plan, plan, jobs) == minutes


def test_the_makespan_gives_all_lanes_to_a_stage_that_is_alone():
    plan = [replace(timed("a", 2.0), alone=True), *FREE[1:], replace(timed("e", 1.0), alone=True)]
    assert makespan(plan, plan, 2) == 2 + 1 + 6


def test_the_makespan_leaves_out_what_is_done():
    assert makespan(CHAIN, CHAIN[1:], 2) == 6
    assert makespan(CHAIN, [], 2) == 0


def test_training_time_counts_stages_side_by_side_once():
    def row(ended: float, seconds: float, kind: str = "train"):
        return {"ended": ended, "seconds": seconds, "kind": kind}

    rows = [row(10, 10), row(15, 10), row(100, 5), row(60, 30, "measure")]
    assert training_seconds(rows) == 20


def test_a_world_of_recordings_is_the_same_plan_with_another_world(tmp_path):
    options = world_options("mnist", "fsdd", 2)
    assert options == ["--digits", "mnist", "--speech", "fsdd", "--fold", "2"]
    usual, other = (stages(tmp_path, "cpu", False, 0, made) for made in ((), options))
    assert [s.name for s in usual] == [s.name for s in other]
    changed = [a.name for a, b in zip(usual, other, strict=True) if a.arguments != b.arguments]
    assert changed == ["world"]
    assert world_options("sklearn", "espeak", 0) == []
