"""Claims about the command that writes texts, and about what it is given."""

import io
import sys

import pytest
import torch

from core.checkpoint import AtomicCheckpointIO
from core.cli import command, quoted_lists
from text.continuation import Author, go_on
from text.generate import LISTS, generate
from text.model import TextConfig
from text.module import TextModule
from text.sampling import TextOptions
from text.terminal import continue_texts
from text.tokenizer import TextTokenizer
from text.writing import Alphabet

TEXTS = ["to be, or not to be: that is the question. café"]


def module(*, chat: bool = True, width: int = 32, seed: int = 0) -> TextModule:
    torch.manual_seed(seed)
    made = TextModule(
        TextConfig(width=width, depth=1, heads=2, context=32, vocabulary=300, prefix=0)
    )
    made.codec.use(TextTokenizer.train(TEXTS, 300, chat=chat))
    for parameter in made.net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def save(path, **options) -> str:
    made = module(**options)
    checkpoint = {"state_dict": made.state_dict()}
    made.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return str(path)


@pytest.fixture
def checkpoint(tmp_path) -> str:
    return save(tmp_path / "last.ckpt")


def run(*argv: str) -> None:
    command(generate, quoted_lists(argv, LISTS))


def refused(capsys, *argv: str) -> str:
    """Return the one line with which the command ends with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        run(*argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_prompts_are_gone_on_with_and_written(checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--prompt", "ROMEO:", "a, b: [c", "--count", "2", "--options.max_tokens", "5"]
    run("--checkpoint", checkpoint, *words, "--seed", "3", "--out", str(out))
    shown = capsys.readouterr().out
    found = [(out / f"{seed}.txt").read_text() for seed in range(3, 7)]
    assert [text.startswith("ROMEO:") for text in found] == [True, True, False, False]
    assert all(f"--- {seed}\n{text}" in shown for seed, text in enumerate(found, 3))


def test_a_text_is_the_same_alone_and_in_any_batch(checkpoint, capsys):
    words = ["--checkpoint", checkpoint, "--prompt", "to be", "not", "that is"]
    run(*words, "--batch", "3")
    together = capsys.readouterr().out
    run(*words, "--batch", "1")
    assert capsys.readouterr().out == together
    run("--checkpoint", checkpoint, "--prompt", "not", "--seed", "1")
    assert capsys.readouterr().out in together


def test_prompts_come_from_a_file(checkpoint, tmp_path, capsys):
    (tmp_path / "prompts.jsonl").write_text('"to be\\n"\n"or"\n')
    (tmp_path / "prompts.txt").write_text("to be\n\nor\n")
    for name, first in (("prompts.jsonl", "to be\n"), ("prompts.txt", "to be")):
        words = ["--prompts", str(tmp_path / name), "--options.max_tokens", "3"]
        run("--checkpoint", checkpoint, *words)
        shown = capsys.readouterr().out
        assert shown.startswith(f"--- 0\n{first}")
        assert "\n--- 1\nor" in shown
    (tmp_path / "prompts.jsonl").write_text("[1]\n")
    line = refused(capsys, "--checkpoint", checkpoint, "--prompts", str(tmp_path / "prompts.jsonl"))
    assert "JSON string" in line


def test_prompts_may_begin_with_dashes_be_empty_or_be_one_string(checkpoint, capsys):
    words = ["--checkpoint", checkpoint, "--options.max_tokens", "2"]
    run(*words, "--prompt", "--help me")
    assert capsys.readouterr().out.startswith("--help me")
    run(*words, "--prompt", "--- a", "-x", "")
    shown = capsys.readouterr().out
    assert all(f"--- {n}\n{prompt}" in shown for n, prompt in enumerate(("--- a", "-x", "")))
    generate(checkpoint, prompt="to be", options=TextOptions(max_tokens=2))
    assert capsys.readouterr().out.startswith("to be")


def test_a_full_context_is_told(checkpoint, capsys):
    run("--checkpoint", checkpoint, "--prompt", "to be " * 4, "--options.temperature", "0")
    assert "context of 32 tokens is full" in capsys.readouterr().err


def test_pieces_are_told_as_they_come_and_why_a_text_ended():
    made = module()
    author = Author(made.net, made.codec.tokenizer, Alphabet.of(made.codec.tokenizer))
    pieces: list[str] = []
    prompts = [author.prompt("to be")]
    options = TextOptions(max_tokens=8)
    (whole,) = go_on(author, prompts, options, [5], tell=lambda _, piece: pieces.append(piece))
    assert "".join(pieces) == whole.text
    assert (whole.ending, whole.tokens) == ("length", 8)
    stop = whole.text[2:4]
    (cut,) = go_on(author, prompts, options, [5], [stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.ending == "stop"
    assert cut.tokens <= whole.tokens


def test_one_text_appears_piece_by_piece(monkeypatch):
    class Screen(io.StringIO):
        flushes = 0

        def flush(self):
            self.flushes += 1

    screen, made = Screen(), module()
    author = Author(made.net, made.codec.tokenizer, Alphabet.of(made.codec.tokenizer))
    monkeypatch.setattr(sys, "stdout", screen)
    (text,) = continue_texts(author, ["to be"], TextOptions(max_tokens=8), [0], [], 1)
    assert screen.getvalue() == f"{text}\n"
    assert screen.flushes >= 8


def test_a_chat_answers_line_by_line(checkpoint, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n\nto be?\n"))
    run("--checkpoint", checkpoint, "--chat", "true", "--options.max_tokens", "4")
    assert len(capsys.readouterr().out.splitlines()) >= 2
    monkeypatch.setattr(sys, "stdin", io.StringIO("x" * 99 + "\n"))
    run("--checkpoint", checkpoint, "--chat", "true")
    assert "say it in fewer words" in capsys.readouterr().err


def test_a_chat_needs_a_tokenizer_with_its_tokens(tmp_path, capsys):
    path = save(tmp_path / "plain.ckpt", chat=False)
    assert "--chat true" in refused(capsys, "--checkpoint", path, "--chat", "true")


def test_a_draft_eight_bits_and_bfloat16_write_too(checkpoint, tmp_path, capsys):
    small = save(tmp_path / "small.ckpt", width=16, seed=1)
    words = ["--checkpoint", checkpoint, "--prompt", "to be", "--options.temperature", "0"]
    run(*words)
    plain = capsys.readouterr().out
    run(*words, "--draft", small, "--ahead", "2")
    assert capsys.readouterr().out == plain
    for extra in (["--quantise", "int8"], ["--dtype", "bfloat16"]):
        run(*words, *extra)
        assert capsys.readouterr().out.startswith("to be")
    other = save(tmp_path / "other.ckpt", chat=False)
    assert "same tokenizer" in refused(capsys, *words, "--draft", other)


def test_texts_are_those_of_pytorch_also_where_there_is_no_compiler(
    checkpoint, tmp_path, capsys, monkeypatch
):
    words = ["--checkpoint", checkpoint, "--prompt", "ROMEO:", "a", "--options.temperature", "0.5"]
    run(*words)
    native = capsys.readouterr().out
    run(*words, "--native", "false")
    assert capsys.readouterr().out == native
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run(*words)
    assert capsys.readouterr().out == native


def test_options_that_would_be_ignored_are_errors(checkpoint, capsys):
    line = refused(capsys, "--checkpoint", checkpoint, "--stop", "END")
    assert "--stop would be ignored" in line
    words = ["--prompt", "a", "--embedding", "some.npy"]
    assert "leave one out" in refused(capsys, "--checkpoint", checkpoint, *words)


def test_a_prompt_longer_than_the_context_is_a_clear_line(checkpoint, capsys):
    line = refused(capsys, "--checkpoint", checkpoint, "--prompt", "question " * 40)
    assert "context is 32" in line
    assert "shorten the prompt" in line


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_checkpoint_that_is_truncated_foreign_or_malicious_is_a_clear_line(tmp_path, capsys):
    good, bad = save(tmp_path / "good.ckpt"), tmp_path / "bad.ckpt"
    words = ["--checkpoint", str(bad), "--prompt", "to be"]
    assert "is not there" in refused(capsys, *words)
    content = (tmp_path / "good.ckpt").read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:size])
        assert "bad.ckpt" in refused(capsys, *words)
    torch.save({"model": torch.zeros(3)}, bad)
    assert "not written by Unison" in refused(capsys, *words)
    torch.save({"unison": {"kind": "text", "version": 1}, "state_dict": Bomb()}, bad)
    assert "cannot be read safely" in refused(capsys, *words)
    bad.write_bytes(content.replace(b"PK", b"QK"))
    assert "damaged" in refused(capsys, *words)
    assert "is not there" in refused(capsys, "--checkpoint", good, "--prompt", "a", "--draft", "no")
