"""Shards on an object store that drops, delays, truncates and refuses are as good as local ones."""

import multiprocessing
import random
import shutil
import threading

import fsspec
import numpy as np
import pytest
from filelock import FileLock

import image
from core.batches import Place
from core.block_cache import BlockCache
from core.checkpoint import read_checkpoint
from core.shards import ShardReader
from core.storage import DataLost, Remote, folder_at, within
from tests.faulty_server import FAULTS, FaultyProxy
from tests.training import TRAINERS, assert_same

MIB = 2**20


@pytest.fixture(scope="module")
def server(tiny_world):
    """Return a proxy before an S3 server whose bucket `data` holds the tiny world."""
    from moto.server import ThreadedMotoServer

    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    proxy = FaultyProxy(store.get_host_and_port()[1])
    settings = {"key": "k", "secret": "s", "endpoint_url": store_url(store)}
    direct = fsspec.filesystem("s3", **settings)
    direct.mkdir("data")
    direct.put(str(tiny_world), "data/world", recursive=True)
    fsspec.config.conf["s3"] = settings | {"endpoint_url": proxy.url}
    yield proxy
    fsspec.config.conf.pop("s3")
    proxy.shutdown()
    store.stop()


def store_url(store):
    host, port = store.get_host_and_port()
    return f"http://{host}:{port}"


@pytest.fixture
def s3(server):
    server.harm(None)
    return server


@pytest.fixture
def remote(tmp_path):
    return Remote(cache=str(tmp_path / "cache"), block_mib=1 / 16, timeout=1.0)


def samples(reader):
    return [reader.read(i) for i in range(len(reader))]


def size(folder):
    return sum(path.stat().st_size for path in folder.glob("blocks/*/*"))


def test_samples_from_a_faulty_store_are_the_local_ones(s3, remote, tiny_world):
    s3.harm(None, "drop", None, "truncate", None, "delay", None, "refuse")
    found = samples(ShardReader("s3://data/world/train", remote=remote))
    assert found == samples(ShardReader(tiny_world / "train"))
    assert set(s3.done) == set(FAULTS)


def test_only_the_blocks_that_a_sample_lies_in_are_read_and_only_once(s3, remote, tiny_world):
    reader = ShardReader("s3://data/world/train", remote=remote)
    block = int(remote.block_mib * MIB)
    s3.harm(None)
    row = reader.index[3]
    for _ in range(2):
        reader.read(3)
    wanted = [f"bytes={n * block}-{min((n + 1) * block, reader.manifest.shards[0].bytes) - 1}"
              for n in range(row["start"] // block, (row["stop"] - 1) // block + 1)]  # fmt: skip
    assert [asked[1] for asked in s3.asked] == wanted


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_from_a_faulty_store_are_the_local_ones(workers, s3, tmp_path, tiny_world):
    s3.harm("drop", None, "truncate", None, None)
    remote = Remote(cache=str(tmp_path), timeout=1.0)
    local, far = (
        image.ImageData(root, batch_size=6, embeddings=f"{root}/embeddings", workers=workers,
                        remote=remote)
        for root in (str(tiny_world), "s3://data/world")
    )  # fmt: skip
    for ours, theirs in zip(far.train_dataloader(), local.train_dataloader(), strict=True):
        assert_same(ours, theirs)
    assert s3.done


def test_training_from_a_faulty_store_is_training_from_a_folder(s3, tiny_world, tmp_path):
    s3.harm(None, "refuse", None, "truncate")
    options = ("--trainer.max_steps=3", "--data.remote.timeout=2", "--data.remote.block_mib=0.1")
    runs = {}
    for name, root in {"here": tiny_world, "far": "s3://data/world"}.items():
        out = tmp_path / name
        argv = [f"--data.root={root}", f"--data.embeddings={root}/embeddings",
                f"--data.remote.cache={tmp_path / 'cache'}"]  # fmt: skip
        TRAINERS["image"].run(tiny_world, out, *options, *argv)
        runs[name] = read_checkpoint(out / "last.ckpt")
    for part in ("state_dict", "ema", "optimizer_states", "ImageData"):
        assert_same(runs["here"][part], runs["far"][part], part)


def test_a_cache_never_holds_more_than_its_bound(tmp_path):
    cache = BlockCache(tmp_path, 1000)
    draw = random.Random(0)
    for _ in range(200):
        name = f"{draw.randrange(16**4):04x}"
        block = bytes([int(name, 16) % 251]) * draw.randrange(1, 300)
        assert cache.piece(name, 0, 1, lambda block=block: block) == block[:1]
        assert size(tmp_path) <= 1000


def test_what_was_used_last_stays_in_the_cache(tmp_path):
    cache = BlockCache(tmp_path, 300)
    for name in ("aa", "bb", "cc", "aa", "dd"):
        cache.piece(name, 0, 100, lambda: bytes(100))
    assert {path.name for path in tmp_path.glob("blocks/*/*")} == {"aa", "cc", "dd"}


def _ask(folder, seed, fetched):
    cache, draw = BlockCache(folder, 1000), random.Random(seed)
    for _ in range(150):
        number = draw.randrange(40)

        def fetch(number=number):
            with fetched.get_lock():
                fetched.value += 1
            return bytes([number]) * 90

        assert cache.piece(f"{number:02x}", 10, 20, fetch) == bytes([number]) * 10


def test_processes_share_a_cache_and_its_bound(tmp_path):
    context = multiprocessing.get_context("fork")
    fetched = context.Value("i", 0)
    tasks = [context.Process(target=_ask, args=(tmp_path, seed, fetched)) for seed in range(3)]
    for task in tasks:
        task.start()
    while any(task.is_alive() for task in tasks):
        with FileLock(tmp_path / "lock"):  # nothing comes or goes meanwhile
            assert size(tmp_path) <= 1000
    assert [task.exitcode for task in tasks] == [0, 0, 0]
    # Eleven of forty blocks fit: most are fetched again and again.
    assert 40 <= fetched.value < 450


def test_a_damaged_copy_is_fetched_again(s3, remote, tiny_world, tmp_path):
    reader = ShardReader("s3://data/world/train", remote=remote)
    sample = reader.read(0)
    for path in (tmp_path / "cache").glob("blocks/*/*"):
        path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    assert reader.read(0) == sample
    for path in (tmp_path / "cache").glob("blocks/*/*"):
        path.write_bytes(b"cut off")
    assert reader.read(0) == sample


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_shard_that_is_gone_ends_the_run_whatever_damaged_samples_do(
    on_error, s3, remote, tmp_path, tiny_world
):
    shutil.copytree(tiny_world, tmp_path / "world")
    root = f"file://{tmp_path / 'world'}"
    data = image.ImageData(root, batch_size=24, on_error=on_error, remote=remote)
    batches = data.train_dataloader().dataset
    (tmp_path / "world" / "train" / "000001.tar").unlink()
    with pytest.raises(DataLost, match=r"000001\.tar is not there any more"):
        batches.read(Place(0, 0))


def test_a_dead_server_is_given_up_after_the_attempts_in_one_line(tmp_path):
    remote = Remote(cache=str(tmp_path), attempts=2, timeout=5.0)
    folder = folder_at("http://127.0.0.1:9/world", remote)
    with pytest.raises(DataLost, match=r"http://127.0.0.1:9/world/x cannot be read .*--resume"):
        folder.open("x")


def test_a_server_that_does_not_answer_is_left_after_the_deadline(s3, tmp_path):
    s3.harm("delay")
    remote = Remote(cache=str(tmp_path), attempts=1, timeout=0.3)
    with pytest.raises(DataLost, match=r"no answer in 0\.3 s"):
        folder_at("s3://data/world/train", remote).open("manifest.json")


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("nonsense://data/world", "nonsense://data/world/manifest.json cannot be read"),
        ("s3://data/nothing", "s3://data/nothing holds no dataset"),
    ],
)
def test_a_wrong_url_is_told_at_once(place, line, s3):
    with pytest.raises(ValueError, match=line):
        ShardReader(place)


def test_bounds_that_hold_no_block_are_refused():
    with pytest.raises(ValueError, match="must be positive and fit into the cache"):
        Remote(gigabytes=0.001, block_mib=4.0)


def test_a_deadline_leaves_what_hangs():
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer in 0\.05 s"):
        within(0.05, lambda: b"late" * over.wait(600))
    over.set()
