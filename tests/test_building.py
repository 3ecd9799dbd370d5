"""Shards do not depend on who builds them, nor on what is killed meanwhile."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

import audio.shards
import image.shards
import multimodal.shards
import text.shards
import video.shards
from core.cli import command
from core.engine import Ray, map_in_order

FIXTURES = Path(__file__).parent / "fixtures"
HANG = 600.0
"""Seconds after which something hangs; nothing is expected within a time."""
BUILDERS: dict[str, Callable[..., None]] = {
    "text": text.shards.shards,
    "documents": partial(text.shards.shards, unit="paragraph", near=0.8, longest=9000),
    "image": image.shards.shards,
    "audio": audio.shards.shards,
    "video": video.shards.shards,
    "pairs": multimodal.shards.folder,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder that gives every builder samples to keep and samples to drop."""
    folder = tmp_path_factory.mktemp("files") / "mine"
    shutil.copytree(FIXTURES, folder / "a")
    shutil.copytree(FIXTURES, folder / "b")  # duplicates
    shutil.copy(FIXTURES / "five.webp", folder / "b" / "seven.webp")
    shutil.copy(FIXTURES / "seven.wav", folder / "b" / "four.wav")
    shutil.copy(FIXTURES / "three.mp3", folder / "a" / "three.ogg")
    for broken in ("x.png", "x.wav", "x.mp4"):
        (folder / broken).write_bytes(b"broken")
    (folder / "lines.txt").write_text("\n".join(f"line {n % 900}" for n in range(3000)))
    (folder / "lines.jsonl").write_text('{"text": "one"}\n{broken\n')
    return folder


@pytest.fixture(scope="module")
def built(files, tmp_path_factory) -> dict[str, dict[str, str]]:
    """What the builders write when this process does all the work."""
    out = tmp_path_factory.mktemp("built")
    for name, build in BUILDERS.items():
        build(files, out / name, val_fraction=0.3)
    return {name: hashes(out / name) for name in BUILDERS}


def hashes(folder: Path) -> dict[str, str]:
    """Name and SHA-256 of every file below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in found)
    return {str(p.relative_to(folder)): digest for p, digest in zip(found, digests, strict=True)}


def many_lines(path: Path, count: int = 60_000) -> Path:
    path.write_text("\n".join(f'{{"text": "line {n} {"x" * (n % 50)}"}}' for n in range(count)))
    return path


def start(source: Path, out: Path, *options: str) -> subprocess.Popen:
    words = ["--source", str(source), "--out", str(out), *options]
    return subprocess.Popen([sys.executable, "-m", "text.shards", *words], stderr=subprocess.PIPE)


def workers(builder: subprocess.Popen, name: str) -> list[psutil.Process]:
    """Its pool's or Ray's processes that work; none where it has ended."""
    try:
        below = psutil.Process(builder.pid).children(recursive=True)
        return [process for process in below if name in " ".join(process.cmdline())]
    except psutil.NoSuchProcess:
        return []


def wait_for(found: Callable[[], list], seconds: float = HANG) -> list:
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.02)
    return result


def tars(parent: Path) -> list[Path]:
    return list(parent.glob(".*.partial/train/000002.tar"))


@pytest.mark.parametrize("name", BUILDERS)
def test_two_workers_write_the_same_bytes(name, files, built, tmp_path):
    BUILDERS[name](files, tmp_path / "out", val_fraction=0.3, workers=2)
    assert hashes(tmp_path / "out") == built[name]


def test_every_builder_keeps_and_drops_samples(files, built, tmp_path):
    assert all({"train/manifest.json", "val/000000.tar"} <= set(files) for files in built.values())
    text.shards.shards(files, tmp_path / "out", workers=2)
    dropped = json.loads((tmp_path / "out/train/manifest.json").read_text())["dropped"]
    assert set(dropped) == {"duplicate", "other kind of file", "undecodable"}


def test_killed_workers_change_no_byte(tmp_path):
    source = many_lines(tmp_path / "lines.jsonl")
    assert start(source, tmp_path / "one").wait(HANG) == 0
    builder = start(source, tmp_path / "two", "--workers", "2")
    wait_for(lambda: tars(tmp_path))
    killed = wait_for(lambda: workers(builder, "forkserver"))[1:]
    for process in killed:
        process.kill()
    assert killed
    assert builder.wait(HANG) == 0
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_a_killed_builder_leaves_no_dataset_and_no_workers(tmp_path):
    builder = start(many_lines(tmp_path / "lines.jsonl"), tmp_path / "out", "--workers", "2")
    wait_for(lambda: tars(tmp_path))
    below = psutil.Process(builder.pid).children(recursive=True)
    builder.send_signal(signal.SIGKILL)
    builder.wait(HANG)
    assert not psutil.wait_procs(below, timeout=HANG)[1]
    (left,) = (path.name for path in tmp_path.iterdir() if path.name != "lines.jsonl")
    assert left == f".out.{builder.pid}.partial"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "error: workers is 0"),
        (["--address", "127.0.0.1:9"], "error: address 127.0.0.1:9 names a Ray cluster; add"),
        (["--engine", "ray", "--address", "127.0.0.1:9"], "error: no Ray cluster answers at"),
        (["--engine", "dask"], "error: "),
    ],
)
def test_a_wrong_engine_is_one_line_and_leaves_nothing(options, message, tmp_path, capsys):
    source = many_lines(tmp_path / "lines.jsonl", 9)
    words = ["--source", str(source), "--out", str(tmp_path / "out"), *options]
    with pytest.raises(SystemExit) as stop:
        command(text.shards.shards, words)
    assert stop.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error:"))
    assert line.startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["lines.jsonl"]


def test_without_ray_its_engine_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    source = many_lines(tmp_path / "lines.jsonl", 9)
    with pytest.raises(ValueError, match="install it with: pip install 'ray"):
        text.shards.shards(source, tmp_path / "out", engine="ray")
    assert [path.name for path in tmp_path.iterdir()] == ["lines.jsonl"]


@pytest.fixture(scope="module")
def cluster() -> Iterator:
    """A Ray cluster of two nodes with a core each."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra ray")
    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    found = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    found.node = found.add_node(num_cpus=1, object_store_memory=100 << 20)
    found.wait_for_nodes()
    yield found
    found.shutdown()


@pytest.mark.slow  # all five: a minute
@pytest.mark.parametrize("name", BUILDERS)
def test_a_ray_cluster_of_two_nodes_writes_the_same_bytes(name, cluster, files, built, tmp_path):
    ray = {"engine": "ray", "address": cluster.address}
    BUILDERS[name](files, tmp_path / "out", val_fraction=0.3, **ray)
    assert hashes(tmp_path / "out") == built[name]


@pytest.mark.slow  # half a minute
def test_a_source_that_kills_rays_workers_is_named(cluster):
    sources = [0] * 300 + [int(signal.SIGKILL)] + [0] * 300
    results = map_in_order(Ray(cluster.address), signal.raise_signal, sources)
    assert [next(results) for _ in range(256)] == [None] * 256
    with pytest.raises(ValueError, match=r"^9 ended 3 workers"):
        list(results)


@pytest.mark.slow  # two minutes
def test_killed_ray_workers_change_no_byte(cluster, tmp_path):
    source = many_lines(tmp_path / "lines.jsonl", 200_000)
    assert start(source, tmp_path / "one").wait(HANG) == 0
    builder = start(source, tmp_path / "two", "--engine", "ray", "--address", cluster.address)
    wait_for(lambda: tars(tmp_path))
    ours = psutil.Process().children(recursive=True)
    killed = [p for p in ours if "ray::" in " ".join(p.cmdline()[:1]) and "Map" in p.cmdline()[0]]
    for process in killed:
        process.kill()
    assert killed
    assert builder.wait(HANG) == 0
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


@pytest.mark.slow  # two minutes; the last, as it takes a node away
def test_a_lost_node_changes_no_byte(cluster, tmp_path):
    source = many_lines(tmp_path / "lines.jsonl", 200_000)
    assert start(source, tmp_path / "one").wait(HANG) == 0
    builder = start(source, tmp_path / "two", "--engine", "ray", "--address", cluster.address)
    wait_for(lambda: tars(tmp_path))
    cluster.remove_node(cluster.node, allow_graceful=False)
    assert builder.poll() is None
    assert builder.wait(HANG) == 0
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
