"""What torch.compile needs is there, or is said to be missing."""

import getpass
import os
import pwd

import pytest
import torch
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from core.cli import guard
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


def test_a_command_names_a_user_without_a_name_for_whom_torch_could_not_compile(monkeypatch):
    for name in ("LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "")
    monkeypatch.setattr(pwd, "getpwuid", nothing)
    with pytest.raises((KeyError, OSError)):
        default_cache_dir()
    assert f"user{os.getuid()}" in guard(default_cache_dir)


def test_a_command_leaves_the_name_of_a_user_as_it_is(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("USER", "")
    assert guard(getpass.getuser) == "ada"
    assert os.environ["USER"] == ""
