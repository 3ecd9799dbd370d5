"""What torch.compile needs is there, or is said to be missing."""

import os
import pwd
import tempfile
from pathlib import Path

import pytest
import torch
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from core.compiling import compile_in_place
from core.errors import UserError


def nothing(_):
    raise KeyError("no line of passwd")


def no_compiler():
    raise InvalidCxxCompiler


def test_without_a_compiler_the_way_out_is_told(monkeypatch):
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", no_compiler)
    with pytest.raises(UserError, match=r"--model\.compile=false"):
        compile_in_place(torch.nn.Linear(2, 2))


def test_code_for_a_user_without_a_name_is_kept_in_a_folder_that_can_be_written(
    tmp_path, monkeypatch
):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")  # and what is set below goes with the test
    monkeypatch.setattr(pwd, "getpwuid", nothing)
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", lambda: "c++")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    net = torch.nn.Linear(2, 2)
    compile_in_place(net)
    assert net._compiled_call_impl is not None
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == tmp_path / ".cache/unison/inductor"
