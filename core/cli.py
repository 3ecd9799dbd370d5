"""The command line: one runner for every verb, and the one place where training is shaped.

Exit codes: 0 done, 2 the user's mistake (one line: value, rule, way out), 1 a defect (traceback),
130 interrupted by Ctrl-C, 141 nobody reads the output.
"""

import argparse
import errno
import getpass
import io
import json
import os
import re
import select
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from core.errors import UserError

Function = Callable[..., Any]


def command(function: Function | dict[str, Function], argv: Sequence[str] | None = None) -> Any:
    """Run a function as a command: its parameters are the options, its docstring the help.

    Of a dictionary of functions the first argument names one.
    """
    from jsonargparse import ArgumentParser, auto_cli

    components: Any = function
    words = None if argv is None else list(argv)

    def run() -> Any:
        return auto_cli(
            components, args=words, as_positional=False, parser_class=strict(ArgumentParser)
        )

    return guard(run)


def plain_options(
    argv: Sequence[str], *, lists: Sequence[str] = (), flags: Mapping[str, str] | None = None
) -> list[str]:
    """Rewrite what people type as the parser takes it: lists without brackets, flags without true.

    With "--to" among the lists, `--to image audio --first-frame` and `--to image --to audio
    --first-frame` become `--to=[image,audio] --first_frame=true`; `flags` names each flag's option.
    """
    named = flags or {}
    options: dict[int, list[str]] = {}
    lists_at: dict[str, int] = {}
    for at, (option, values) in enumerate(_grouped(argv)):
        name, _, attached = option.partition("=")
        if name in lists:
            values = [
                *([attached.removeprefix("[").removesuffix("]")] if attached else []),
                *values,
            ]
            options.setdefault(lists_at.setdefault(name, at), [name]).extend(values)
        elif option in named and not values:
            options[at] = [f"{named[option]}=true"]
        elif name in named:
            options[at] = [option.replace(name, named[name], 1), *values]
        else:
            options[at] = [option, *values]
    for name, at in lists_at.items():
        options[at] = [f"{name}=[{','.join(options[at][1:]).replace(' ', ',')}]"]
    return [word for words in options.values() for word in words]


def quoted_lists(
    argv: Sequence[str], lists: Sequence[str], *, alone: Sequence[str] = ()
) -> list[str]:
    """Rewrite options of several values as the parser takes them, whatever the values hold.

    `--stop "END" "a, b"` and `--stop END --stop "a, b"` become `--stop=["END", "a, b"]`; a single
    value of an option that may stand alone stays as it is.
    """
    options: dict[int, list[str]] = {}
    lists_at: dict[str, int] = {}
    for at, (option, values) in enumerate(_grouped(argv)):
        name, equals, attached = option.partition("=")
        if name in lists and (values or equals):
            values = [*(_listed(attached) if equals else []), *values]
            options.setdefault(lists_at.setdefault(name, at), [name]).extend(values)
        else:
            options[at] = [option, *values]
    for name, at in lists_at.items():
        values = options[at][1:]
        single = len(values) == 1 and name in alone
        options[at] = [f"{name}={values[0] if single else json.dumps(values)}"]
    return [word for words in options.values() for word in words]


def _grouped(argv: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each option (or a word before the first one) with the words up to the next option."""
    words = list(argv)
    while words:
        option, values = words.pop(0), []
        while is_option(option) and words and not is_option(words[0]):
            values.append(words.pop(0))
        yield option, values


def is_option(word: str) -> bool:
    """Tell whether a word names an option; others that begin with dashes are values.

    `--seed`, `--seed=3` and `-h` do; `--help me`, `--`, `---` and `-x` do not.
    """
    return word == "-h" or re.fullmatch(r"--[A-Za-z][\w.-]*\+?(=.*)?", word, re.DOTALL) is not None


def _listed(value: str) -> list[str]:
    """Return the texts of a value in brackets, `["a", "b"]`; any other is one text."""
    try:
        values = json.loads(value)
    except ValueError:
        return [value]
    return (
        values if isinstance(values, list) and all(isinstance(v, str) for v in values) else [value]
    )


def positional(argv: Sequence[str], option: str) -> list[str]:
    """Let the word after a verb stand for an option: `verify runs` is `verify --path runs`."""
    words = list(argv)
    named = len(words) > 1 and not words[1].startswith("-")
    return [words[0], option, *words[1:]] if named else words


def guard(run: Callable[[], Any]) -> Any:
    """Call `run`; the user's mistake becomes one line on stderr and exit code 2.

    That is a `UserError`, or what the operating system refused (a missing file, a full disk).
    Ctrl-C is one line and exit code 130. A reader of the output that has had enough (`| head -1`)
    ends the command quietly, as it ends any other. Everything else is a defect and keeps its
    traceback.
    """
    _take_any_letter()
    _name_user()
    read = True
    try:
        try:
            result = run()
        finally:
            read = _flush()
    except KeyboardInterrupt:
        _tell("interrupted")
        raise SystemExit(128 + signal.SIGINT) from None
    except UserError as error:
        _refuse(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not (read and _has_reader()):
            raise SystemExit(128 + signal.SIGPIPE) from None
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _refuse(f"{where}{error.strerror}; {_way_out(error)}")
    if not read:
        raise SystemExit(128 + signal.SIGPIPE)
    return result


def _take_any_letter() -> None:
    """Show a letter that the console lacks by its number: no reason to lose the output."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> bool:
    """Write what is left to print; False if its reader has gone.

    Here, since the interpreter would complain when it tries as it shuts down.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # a command may be started without one
                stream.flush()
        except OSError as error:
            assert stream is not None
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if isinstance(error, BrokenPipeError):
                return False
            raise
    return True


def _has_reader() -> bool:
    """Tell whether somebody still reads what is printed: the pipe that broke was another."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # no file of the operating system's
            poll.register(stream.fileno(), select.POLLOUT)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def _tell(line: str) -> None:
    with suppress(BrokenPipeError):  # nobody reads that either
        print(line, file=sys.stderr, flush=True)


def _name_user() -> None:
    """Name a user whom passwd does not know, as in containers: torch's compiler asks for it."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        os.environ["USER"] = f"user{os.getuid()}"


def _refuse(message: str) -> NoReturn:
    _tell(f"error: {' '.join(message.split())}")
    raise SystemExit(2) from None


def _way_out(error: OSError) -> str:
    ways = {
        errno.ENOSPC: "free some space, or choose another --out",
        errno.EDQUOT: "free some of your quota, or choose another --out",
        errno.EFBIG: "raise the limit of file sizes (ulimit -f), or choose another --out",
        errno.EACCES: "choose a path that you may read and write",
        errno.EROFS: "choose a path that can be written",
        errno.ENOENT: "check the path",
    }
    return ways.get(error.errno or 0, "check the path and its permissions")


def strict(base: type) -> type:
    """Return a parser class that takes no abbreviations and tells a mistake in one line.

    `max_step` must not mean `max_steps`, and the first of two `--seed` must not be forgotten.
    Values of an option that is given several times add up where it takes several. A value may
    begin with dashes.
    """

    class StrictParser(base):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **{"allow_abbrev": False, **kwargs})

        def parse_args(self, args: Sequence[str] | None = None, *more: Any, **kwargs: Any) -> Any:
            words = list(sys.argv[1:] if args is None else args)
            if all(isinstance(word, str) for word in words):
                words = _attached(words, self._option_string_actions)
                words = self._added_up(words)
            return super().parse_args(words, *more, **kwargs)

        def _added_up(self, words: list[str]) -> list[str]:
            """Join the values of options of several values; refuse others that stand twice."""
            counts = Counter(name for word in words if (name := _repeatable(word, self)))
            for name in (name for name, count in counts.items() if count > 1):
                values = _values(words, name)
                if values is None:
                    self.error(f"{name} is given {counts[name]} times but takes one value")
                words = _replaced(words, name, values)
            return words

        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            if not self.exit_on_error:
                super().error(message, ex)
            line = " ".join(message.split()).rstrip(".")
            if line.endswith("expected one argument"):
                line += " (one that begins with dashes as --option=VALUE)"
            _tell(f"error: {line}; the options: {_program()} --help")
            raise SystemExit(2)

    return StrictParser


def _attached(words: Sequence[str], known: Mapping[str, argparse.Action]) -> list[str]:
    """Write `--text -x` as `--text=-x`, which argparse would take for two options."""
    attached: list[str] = []
    for word in words:
        before = attached[-1] if attached else ""
        action = known.get(before)
        takes = before in known and not isinstance(action, argparse._HelpAction)
        if takes and word.startswith("-") and not is_option(word):
            attached[-1] = f"{before}={word}"
        else:
            attached.append(word)
    return attached


def _repeatable(word: str, parser: Any) -> str | None:
    """Return the name of the option that a word is, if this parser has it and it may stand once."""
    name = word.partition("=")[0]
    if not is_option(word) or name.endswith("+"):
        return None
    groups = {name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1)}
    if not groups & parser._option_string_actions.keys():
        return None  # a subcommand's, or unknown
    action = parser._option_string_actions.get(name)
    return None if type(action).__name__ == "ActionConfigFile" else name


def _values(words: Sequence[str], name: str) -> list[Any] | None:
    """Return all values of an option if each is a list in brackets."""
    import yaml

    values: list[Any] = []
    for at, word in enumerate(words):
        if word.partition("=")[0] != name:
            continue
        text = word.partition("=")[2] if "=" in word else "".join(words[at + 1 : at + 2])
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            return None
        if not isinstance(value, list):
            return None
        values += value
    return values


def _replaced(words: Sequence[str], name: str, values: list[Any]) -> list[str]:
    """Put one option with all values in the place of several."""
    rest, left = [], list(words)
    while left:
        word = left.pop(0)
        if word.partition("=")[0] != name:
            rest.append(word)
        elif "=" not in word and left:
            left.pop(0)
    return [*rest, f"{name}={json.dumps(values)}"]


def _program() -> str:
    """Return the command as the user typed it, without its options."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return (
        f"python -m {spec.name.removesuffix('.__main__')}"
        if spec is not None
        else Path(sys.argv[0]).name
    )
