"""Claims about reading the files of strangers: by another process, which may fail alone."""

import os
import time

import pytest
import torch

from multimodal.demo.page_doors import names_host
from multimodal.demo.reading import Reader
from multimodal.demo.uploads import read_weighed, typed
from tests.multimodal.demo import bombs
from tests.multimodal.demo.bombs import FIXTURES


def spend(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def fill(megabytes: int) -> int:
    return len(bytearray(megabytes * 2**20))


def die() -> None:
    os.abort()


def spoil() -> None:
    raise KeyError("inside a decoder")


def whine() -> None:
    raise ValueError("f is wrong; mend it")


@pytest.fixture(scope="module")
def reader():
    reader = Reader()
    yield reader
    reader.end()


def test_a_function_is_run_elsewhere_and_again_in_the_same_process(reader):
    first = reader.run(spend, 0)
    assert first != os.getpid()
    assert reader.run(spend, 0) == first


@pytest.mark.parametrize(
    ("function", "args", "told"),
    [
        (spend, (3600,), "longer than 1 s"),
        (fill, (4_000,), "too much memory"),
        (die, (), "its decoder failed"),
        (spoil, (), "is damaged in a way"),
        (whine, (), "f is wrong; mend it"),
    ],
)
def test_whatever_goes_wrong_there_is_a_line_and_the_next_file_is_read(
    reader, function, args, told
):
    with pytest.raises(ValueError, match=told):
        reader.run(function, *args, seconds=1.0 if function is spend else 600.0)
    assert reader.run(fill, 1, seconds=600.0) == 2**20


def test_a_signal_comes_back_as_the_file_holds_it():
    from image.files import read_image

    path = FIXTURES / "seven.png"
    assert torch.equal(read_weighed("image", path), read_image(path))


def test_a_jpeg_of_endless_scans_is_given_up(tmp_path):
    (tmp_path / "x.jpg").write_bytes(bombs.many_scans(7000, 3000))
    with pytest.raises(ValueError, match=r"mine\.jpg: it takes longer than 8 s to read"):
        read_weighed("image", tmp_path / "x.jpg", "mine.jpg")


def test_what_is_typed_names_no_file(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    assert typed(str(tmp_path / "secret.txt")) == str(tmp_path / "secret.txt")


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"data": [{"path": "http://evil/x.png"}]}', True),
        (b'{"data": [[{"a": {"path": " \\u0068TTPS://evil"}}]]}', True),
        (b'{"data": [{"path": "/tmp/gradio/x.png", "url": "http://localhost/x.png"}]}', False),
        (b'{"data": ["see http://a.example"]}', False),
        (b"[" * 100_000, False),
        (b"\xff", False),
    ],
)
def test_a_call_that_names_another_hosts_file_is_known(body, names):
    assert names_host(body) is names
