"""What an export must refuse: damaged and foreign checkpoints, and places that are taken."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch


def write_wrong_things(folder: Path, whole: bytes, other: str) -> None:
    """Write last.ckpt, broken ones, one of another kind (<other>.ckpt), and a folder in use."""
    (folder / "last.ckpt").write_bytes(whole)
    (folder / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    (folder / "garbage.ckpt").write_bytes(bytes(range(256)))
    held = torch.load(folder / "last.ckpt", weights_only=True)
    torch.save({"state_dict": held["state_dict"]}, folder / "foreign.ckpt")
    torch.save(
        {"state_dict": {}, "unison": {"kind": other, "version": 1}}, folder / f"{other}.ckpt"
    )
    (folder / "full").mkdir()
    (folder / "full/mine.txt").write_text("mine")


def refused(call: Callable, to: str, argv: list[str], folder: Path, capsys) -> str:
    """Run an export with one option changed, which must fail in one line and leave nothing."""
    before = sorted(folder.rglob("*"))
    given = {"--checkpoint": "last.ckpt", "--to": to, "--out": "out"} | {argv[0]: argv[1]}
    with pytest.raises(SystemExit) as stop:
        call(*(word for pair in given.items() for word in pair))
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    return error
