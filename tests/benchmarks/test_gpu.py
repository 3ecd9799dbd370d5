"""Claims about the script for GPUs: its smoke form, its processes and what its tables say."""

import json
import os
import select
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts import presets
from benchmarks.gpu_parts.checks import unequal
from benchmarks.gpu_parts.data import large_tokenizer
from benchmarks.gpu_parts.process import fresh
from benchmarks.gpu_parts.report import markdown
from core.errors import UserError
from text.tokenizer import TextTokenizer

FEW = ["text/corpus_124m_gpu", "text/chat_gpu", "image/world_gpu",
       "resume text/shakespeare_char_gpu", "decoding", "gpu tests"]  # fmt: skip


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Return the folder of a run of some parts."""
    out = tmp_path_factory.mktemp("gpu") / "out"
    gpu.gpu(out, smoke=True, parts=FEW)
    return out


def rows(text):
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in cells}


def test_the_smoke_form_runs_every_kind_of_part(smoke):
    parts = json.loads((smoke / "results.json").read_text())["parts"]
    failures = {name: part["failure"] for name, part in parts.items() if part["failure"]}
    assert list(failures) == ["gpu tests"]
    assert "no CUDA device" in failures["gpu tests"]
    for name in FEW[:3]:
        numbers = parts[name]["numbers"]
        assert numbers["steps"] == 3
        assert numbers["samples_per_second"] > 0
        assert numbers["flops_per_sample"] > 0
        assert numbers["loss_start"] > 0
    assert parts["resume text/shakespeare_char_gpu"]["numbers"]["bitwise"] is True


def test_a_run_on_a_cpu_shows_no_figure_as_measured(smoke):
    found = rows((smoke / "results.md").read_text())
    assert set(presets.presets()) <= set(found)
    for name in presets.presets():
        assert found[name][:4] == ["not measured"] * 4
    assert "tokens/s" not in found["decoding"][0]


@pytest.mark.slow
def test_the_smoke_form_of_everything_has_no_failure(tmp_path):
    gpu.gpu(tmp_path / "out", smoke=True)
    parts = json.loads((tmp_path / "out" / "results.json").read_text())["parts"]
    failed = {name for name, part in parts.items() if part["failure"]}
    assert failed == {"gpu tests"}
    assert set(presets.presets()) <= set(parts)


def test_it_asks_for_a_gpu_a_new_folder_and_parts_that_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="there is no CUDA device; --smoke"):
        gpu.gpu(tmp_path)
    with pytest.raises(UserError, match="'speed' is no part; there are text/corpus"):
        gpu.gpu(tmp_path / "new", smoke=True, parts=["speed"])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not empty"):
        gpu.gpu(tmp_path, smoke=True)


def test_what_there_is_no_time_for_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "fresh", lambda *_, **__: pytest.fail("a process was started"))
    gpu.gpu(tmp_path / "out", minutes=0.0, smoke=True, parts=["decoding"])
    found = rows((tmp_path / "out" / "results.md").read_text())
    assert found["decoding"][0] == "not begun: the time was over"


@pytest.mark.parametrize("preset", presets.presets())
def test_every_preset_has_a_trainer_and_gives_each_option_once(preset):
    assert presets.header(preset) in presets.TRAINERS
    for smoke in (False, True):
        more = (("--save_every", "2"), ("--model.compile", "false"))
        job = presets.Job(preset, Path("data"), Path("out"), smoke=smoke, options=more)
        options = [w.split("=")[0] for w in presets.command_line(job) if "--config" not in w]
        assert len(options) == len(set(options))
        assert "--save_every=2" in presets.command_line(job)


def fail():
    raise RuntimeError("out of memory")


def wait(pids):
    child = os.fork()
    if child:
        Path(pids).write_text(f"{os.getpid()} {child}")
    while True:
        os.wait() if child else os.read(os.pipe()[0], 1)


def add(a, b):
    return {"sum": a + b, "process": os.getpid()}


def test_a_part_runs_in_a_process_of_its_own(tmp_path):
    outcome = fresh(add, 1, 2, log=tmp_path / "x.log", limit=120)
    assert outcome.failure is None
    assert outcome.numbers["sum"] == 3
    assert outcome.numbers["process"] != os.getpid()


def test_a_failing_part_is_recorded_with_its_last_line(tmp_path):
    outcome = fresh(fail, log=tmp_path / "x.log", limit=120)
    assert outcome.failure == "RuntimeError: out of memory"
    assert "Traceback" in (tmp_path / "x.log").read_text()


def test_a_part_that_takes_too_long_is_ended_with_its_children(tmp_path):
    pids = tmp_path / "pids"
    for limit in (2, 8, 32, 128):  # a busy machine may take longer to start it
        outcome = fresh(wait, str(pids), log=tmp_path / "x.log", limit=limit)
        assert outcome.failure == f"ended after its limit of {limit} s"
        if pids.exists():
            break
    for pid in map(int, pids.read_text().split()):
        assert ends(pid)


def ends(pid):
    """Wait for the end of a process, which a kill brings about in its own time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    return bool(select.select([handle], [], [], 120)[0])


def test_two_checkpoints_that_differ_are_told_apart():
    one = {"a": torch.zeros(2), "b": [1, {"c": torch.ones(1)}], "d": "x"}
    other = {"a": torch.zeros(2), "b": [1, {"c": torch.ones(1)}], "d": "x"}
    assert unequal(one, other, "all") == []
    other["b"][1]["c"] = torch.ones(1).double()
    other["a"] = torch.tensor([0.0, 1e-30])
    assert unequal(one, other, "all") == ["all.a", "all.b.1.c"]
    assert unequal(one, {"a": 1}, "all") == ["all"]
    assert unequal([1], [1, 2], "list") == ["list"]


def test_the_table_shows_what_a_gpu_measured():
    numbers = {"samples_per_second": 1234.5, "tokens_per_second": 1e6, "mfu": 0.4321}
    numbers |= {"peak_memory_mb": 2048, "loss_start": 10.8, "loss_end": 6.25, "steps": 200}
    done = {"failure": None, "seconds": 60.0}
    results = {
        "text/a_gpu": done | {"numbers": numbers},
        "text/b_gpu": {"failure": "out of memory", "seconds": 3.0, "numbers": {}},
        "resume text/a_gpu": done | {"numbers": {"bitwise": True, "killed_after": 21}},
    }
    about = {"device": "H200", "torch": "2", "commit": "abc", "date": "today", "smoke": False}
    found = rows(markdown(about, results, [*results, "image/c_gpu"]))
    assert found["text/a_gpu"][:7] == [
        "1,234",
        "1,000,000",
        "0.432",
        "2,048",
        "10.8",
        "6.25",
        "200",
    ]
    assert found["text/b_gpu"] == ["not measured"] * 7 + ["out of memory"]
    assert found["image/c_gpu"][:7] == ["not measured"] * 7
    assert found["resume text/a_gpu"][0] == "bitwise the same, killed after step 21"


@pytest.mark.parametrize("size", [600, 50_257])
def test_the_made_up_tokenizer_has_its_size_and_gives_back_any_text(size):
    codec = TextTokenizer(large_tokenizer(size))
    assert len(codec) == size
    for text in ("abcd efgh what is 12 plus 7", "héllo\n\tworld"):
        assert codec.decode(codec.encode(text)) == text
