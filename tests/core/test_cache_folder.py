"""What is kept once a machine has a place also where there is no home."""

import os
import pwd
import tempfile

import pytest

from core import cache_folder as places
from core.cache_folder import cache_folder, cache_folders
from core.errors import UserError
from core.storage import Remote, RemoteFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Return a folder for temporary files of this test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    places._temporary.cache_clear()
    yield folder
    places._temporary.cache_clear()


def nameless(_):
    raise KeyError("no line of passwd")


def test_the_cache_is_below_the_home_or_where_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "my höme"))
    assert cache_folder() == tmp_path / "my höme/.cache/unison"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache/unison"


@pytest.mark.parametrize("named", ["", "relative/path"])
def test_a_cache_that_is_named_by_no_whole_path_is_ignored(named, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert cache_folder() == tmp_path / ".cache/unison"


@pytest.mark.parametrize("home", ["/proc/nohome", "/dev/null"])
def test_where_no_home_can_be_written_there_is_a_temporary_folder(home, temporary, monkeypatch):
    monkeypatch.setenv("HOME", home)
    assert cache_folder() == temporary / f"unison-{os.geteuid()}"
    assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_a_user_without_a_name_and_a_home_has_a_temporary_folder(temporary, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nameless)
    assert list(cache_folders()) == [temporary / f"unison-{os.geteuid()}"]


@pytest.mark.parametrize("planted", ["open to all", "a link", "a file", "a dangling link"])
def test_a_temporary_folder_of_somebody_else_is_not_used(planted, temporary, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nohome")
    theirs = temporary / f"unison-{os.geteuid()}"
    if planted == "open to all":
        theirs.mkdir()
        theirs.chmod(0o777)
    elif planted == "a file":
        theirs.touch()
    else:
        theirs.symlink_to(tmp_path if planted == "a link" else tmp_path / "absent")
    assert cache_folder() != theirs
    assert cache_folder().parent == temporary
    assert cache_folder() == cache_folder()


def test_where_no_folder_takes_files_the_way_out_is_told(monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nohome")
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        cache_folder()


def test_blocks_of_remote_shards_are_kept_there(temporary, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nohome")
    folder = RemoteFolder("file:///data", Remote())
    assert folder.cache.folder == temporary / f"unison-{os.geteuid()}" / "shards"
