"""The command line: one runner for every verb, and the one place where training is shaped.

Exit codes: 0 done, 2 the user's mistake (one line: value, rule, way out), 1 a defect (traceback).
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
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

    With "--to" among the lists, `--to image audio --first-frame` becomes `--to=[image,audio]
    --first_frame=true`; `flags` names each flag's option.
    """
    words, options, named = list(argv), [], flags or {}
    while words:
        option = words.pop(0)
        values = []
        while option.startswith("--") and words and not words[0].startswith("--"):
            values.append(words.pop(0))
        if option in lists:
            names = ",".join(values).replace(" ", ",")
            option, values = f"{option}=[{names}]", []
        elif option in named and not values:
            option = f"{named[option]}=true"
        options += [option, *values]
    return options


def quoted_lists(
    argv: Sequence[str], lists: Sequence[str], *, alone: Sequence[str] = ()
) -> list[str]:
    """Rewrite options of several values as the parser takes them, whatever the values hold.

    `--stop "END" "a, b"` becomes `--stop=["END", "a, b"]`; a single value of an option that may
    stand alone stays as it is.
    """
    import json

    words, options = list(argv), []
    while words:
        option, values = words.pop(0), []
        while option in lists and words and not words[0].startswith("--"):
            values.append(words.pop(0))
        plain = not values or (len(values) == 1 and option in alone)
        options += [option, *values] if plain else [f"{option}={json.dumps(values)}"]
    return options


def positional(argv: Sequence[str], option: str) -> list[str]:
    """Let the word after a verb stand for an option: `verify runs` is `verify --path runs`."""
    words = list(argv)
    named = len(words) > 1 and not words[1].startswith("-")
    return [words[0], option, *words[1:]] if named else words


def guard(run: Callable[[], Any]) -> Any:
    """Call `run`; the user's mistake becomes one line on stderr and exit code 2.

    That is a `UserError`, or what the operating system refused (a missing file, a full disk). A
    reader of the output that has had enough (`| head -1`) ends the command quietly, as it ends any
    other. Everything else is a defect and keeps its traceback.
    """
    try:
        result = run()
        sys.stdout.flush()
        return result
    except BrokenPipeError:
        _end_quietly()
    except UserError as error:
        _refuse(str(error))
    except OSError as error:
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _refuse(f"{where}{error.strerror}; {_way_out(error)}")


def _refuse(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2) from None


def _end_quietly() -> NoReturn:
    """Leave as a program does whose output nobody reads: with the code of SIGPIPE, in silence."""
    # Or the interpreter would try to flush once more while it shuts down, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(128 + signal.SIGPIPE) from None


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

    `max_step` must not mean `max_steps`.
    """

    class StrictParser(base):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **{"allow_abbrev": False, **kwargs})

        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            if not self.exit_on_error:
                super().error(message, ex)
            line = " ".join(message.split()).rstrip(".")
            print(f"error: {line}; the options: {_program()} --help", file=sys.stderr)
            raise SystemExit(2)

    return StrictParser


def _program() -> str:
    """Return the command as the user typed it, without its options."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return (
        f"python -m {spec.name.removesuffix('.__main__')}"
        if spec is not None
        else Path(sys.argv[0]).name
    )
