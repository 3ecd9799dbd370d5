"""Claims about how a command line is read, and how a command ends."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from core.cli import command, guard, is_option, plain_options, quoted_lists
from core.errors import UserError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Sampling:
    """How to sample."""

    seeds: tuple[int, ...] = ()
    """Several numbers."""
    steps: int = 3
    """One."""


def write(
    to: tuple[str, ...] = (),
    text: str | None = None,
    count: int = 1,
    quick: bool = False,
    options: Sampling = Sampling(),
) -> tuple:
    """Return what it is given."""
    return to, text, count, quick, options


def refused(capsys, *argv: str) -> str:
    with pytest.raises(SystemExit) as stop:
        command(write, argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_options_of_several_values_hold_whatever_is_typed():
    line = ["--stop", "a, b", "]", "--seed", "3", "--terms", "x,y"]
    wanted = ['--stop=["a, b", "]"]', "--seed", "3", '--terms=["x,y"]']
    assert quoted_lists(line, ["--stop", "--terms"]) == wanted


def test_one_value_stays_alone_where_it_may():
    lists = ["--source", "--stop"]
    assert quoted_lists(["--source", "[a]"], lists, alone=["--source"]) == ["--source=[a]"]
    assert quoted_lists(["--source", "my files", "b"], lists, alone=["--source"]) == [
        '--source=["my files", "b"]'
    ]


def test_an_option_without_a_value_is_left_for_the_parser_to_refuse():
    assert quoted_lists(["--stop", "--seed", "3"], ["--stop"]) == ["--stop", "--seed", "3"]


@pytest.mark.parametrize(
    "line",
    [
        ["--to", "a", "--seed", "3", "--to", "b"],
        ["--to=a", "--seed", "3", "--to=b"],
        ["--to", "a", "--to=b", "--seed", "3"],
        ["--to", "a", "b", "--seed", "3"],
    ],
)
def test_an_option_of_several_values_may_be_given_several_times(line):
    assert sorted(quoted_lists(line, ["--to"])) == sorted(
        ['--to=["a", "b"]', *(w for w in line if w in ("--seed", "3"))]
    )
    plain = plain_options(line, lists=["--to"])
    assert "--to=[a,b]" in plain
    assert [w for w in plain if w in ("--seed", "3")] == ["--seed", "3"]


def test_a_list_in_brackets_adds_up_with_the_rest():
    line = ['--stop=["a", "b"]', "--stop", "c"]
    assert quoted_lists(line, ["--stop"]) == ['--stop=["a", "b", "c"]']
    assert plain_options(["--to=[a,b]", "--to", "c"], lists=["--to"]) == ["--to=[a,b,c]"]


@pytest.mark.parametrize("text", ["--help me", "-x", "--", "---", "-- said he", "-1", "- a\n- b"])
def test_a_value_may_begin_with_dashes(text):
    assert not is_option(text)
    assert quoted_lists(["--to", text, "--count", "2"], ["--to"])[1:] == ["--count", "2"]
    for line in (["--to", text], [f"--to={text}"]):
        assert command(write, quoted_lists(line, ["--to"]))[0] == (text,)


@pytest.mark.parametrize("text", ["--help me", "-x", "-- said he", "-1", "- a\n- b"])
def test_the_value_of_an_option_of_one_may_begin_with_dashes(text):
    for line in (["--text", text, "--count", "2"], [f"--text={text}", "--count=2"]):
        assert command(write, line)[1:3] == (text, 2)


def test_a_value_that_looks_like_an_option_is_taken_behind_an_equals_sign(capsys):
    assert command(write, ["--text=--count"])[1] == "--count"
    assert "--option=VALUE" in refused(capsys, "--text", "--count")


def test_values_of_nested_lists_add_up_too():
    assert command(write, ["--options.seeds=[1]", "--options.seeds", "[2, 3]"])[4].seeds == (
        1, 2, 3,
    )  # fmt: skip


@pytest.mark.parametrize("option", ["--count", "--text", "--options.steps"])
def test_an_option_of_one_value_that_is_given_twice_is_refused(option, capsys):
    line = refused(capsys, option, "5", f"{option}=6")
    assert line.startswith(f"error: {option} is given 2 times but takes one value")


def test_options_of_a_verb_are_refused_twice_and_added_up_as_well(capsys):
    verbs = {"write": write, "read": write}
    assert command(verbs, ["write", "--to=[a]", "--to=[b]"])[0] == ("a", "b")
    with pytest.raises(SystemExit):
        command(verbs, ["write", "--count=1", "--count=2"])
    assert "--count is given 2 times" in capsys.readouterr().err


def test_the_users_mistake_is_one_line_and_code_2(capsys):
    def run():
        raise UserError("seed is -1\nbut must be at least 0; choose another")

    with pytest.raises(SystemExit) as stop:
        guard(run)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: seed is -1 but must be at least 0; choose another\n"


@pytest.mark.parametrize("error", [ValueError, KeyError, AssertionError, RuntimeError, TypeError])
def test_a_defect_keeps_its_type(error):
    def run():
        raise error("of ours")

    with pytest.raises(error) as met:
        guard(run)
    assert type(met.value) is error


def test_ctrl_c_is_one_line_and_code_130(capsys):
    with pytest.raises(SystemExit) as stop:
        guard(lambda: os.kill(os.getpid(), signal.SIGINT) or signal.pause())
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def run_command(body: str, reader: str = "cat", **environment: str) -> subprocess.CompletedProcess:
    """Run a function `run` as a command whose output a shell's command reads."""
    code = f"from core.cli import command\nimport sys\n{dedent(body)}\ncommand(run, sys.argv[1:])"
    shell = f'"{sys.executable}" -c "$CODE"; echo "code $?" >&2'
    return subprocess.run(
        ["bash", "-c", f"({shell}) | {reader}"],
        env=os.environ | {"CODE": code, "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "body",
    [
        "def run(): [print('red', flush=True) for _ in range(200_000)]",
        "def run(): print('red\\n' * 200_000)",
        "def run():\n    while True: print('red')",
        "def run(): print('red'); raise SystemExit(0)\n",
    ],
)
def test_a_reader_that_has_had_enough_ends_the_command_quietly(body):
    done = run_command(body, "head -1")
    assert done.stdout == b"red\n"
    assert done.stderr.decode() in ("code 141\n", "code 0\n")


def test_help_may_be_cut_short():
    done = run_command("def run(): sys.argv = ['x', '--help']; command(print, ['--help'])", "true")
    assert done.stderr.decode() in ("code 141\n", "code 0\n")


def test_a_pipe_that_breaks_elsewhere_is_told():
    body = """
    import os
    def run():
        there, here = os.pipe()
        os.close(there)
        os.write(here, b"x")
    """
    assert run_command(body).stderr.startswith(b"error: Broken pipe;")


def test_a_full_disk_behind_the_output_is_told_once():
    done = run_command("def run(): print('red')", "cat; true", CODE_IGNORED="1")
    assert done.stderr == b"code 0\n"
    code = "from core.cli import command\ndef run(): print('red')\ncommand(run, [])"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert (
        done.stderr == "error: No space left on device; free some space, or choose another --out\n"
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_a_console_without_a_letter_shows_its_number(encoding):
    done = run_command("def run(): print('π red')", PYTHONIOENCODING=encoding)
    wanted = "π red" if encoding == "utf-8" else r"\u03c0 red"
    assert done.stdout.decode() == f"{wanted}\n"
    assert done.stderr == b"code 0\n"


def test_a_refusal_with_letters_that_the_console_lacks_is_still_one_line():
    body = (
        "from core.errors import UserError\ndef run(): raise UserError('π is no number; choose 3')"
    )
    done = run_command(body, PYTHONIOENCODING="ascii:strict")
    assert done.stderr == b"error: \\u03c0 is no number; choose 3\ncode 2\n"


def test_what_is_typed_in_another_encoding_is_read():
    body = "def run(): print(sys.stdin.readline().strip())"
    done = run_command("import os\nos.dup2(os.memfd_create('x'), 0)\n"
                       "os.write(0, b'\\xff red\\n'); os.lseek(0, 0, 0)\n" + body)  # fmt: skip
    assert done.stdout == b"\\xff red\n"


def test_a_command_without_an_output_runs():
    code = "from core.cli import command\ndef run(): print('red')\ncommand(run, [])"
    shell = f'"{sys.executable}" -c "$CODE" >&-'
    environment = os.environ | {"CODE": code, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", shell], env=environment, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
