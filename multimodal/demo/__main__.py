"""Serve a run: a page to draw, speak and watch on, and an HTTP API beside it.

    python -m multimodal.demo --run runs/quickstart

It listens on this machine only, unless --host says otherwise; then give it --api_key_file. Behind a
reverse proxy on the same machine, --hosts names the public host and --root_path the path:

    python -m multimodal.demo --hosts demo.example.org --root_path /unison
"""

import json
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from core.cli import command
from core.errors import UserError


def serve(
    run: Path = Path("runs/quickstart"),
    host: str = "127.0.0.1",
    port: int = 7860,
    hosts: tuple[str, ...] = (),
    root_path: str = "",
    api_key_file: Path | None = None,
    max_upload_mb: int = 16,
    waiting: int = 32,
    seconds: float = 60.0,
    batch: int = 32,
    device: str = "auto",
    page: bool = True,
) -> None:
    """Serve the models of a run until interrupted.

    Args:
        run: Folder of a run, as `make quickstart` writes it.
        host: Address to listen on; 0.0.0.0 is every one.
        port: Port to listen on; 0 takes any that is free.
        hosts: Further host names that may be asked for, as behind a proxy: demo.example.org, or
            *.example.org, or "*" for any. Without it a service of this machine answers to localhost
            alone, another one to any name.
        root_path: Path below which a proxy serves it, /unison for example, whether the proxy strips
            it or not; or the whole public address where the proxy does not pass on its host.
        api_key_file: Keys, one a line: who has none is turned away.
        max_upload_mb: Largest body of a request.
        waiting: Requests at a time; more are refused with 429.
        seconds: Time for a request, waiting included.
        batch: Samples of all requests that a model makes at a time.
        device: cpu, cuda, mps, or auto for the fastest there is.
        page: Serve the page, too, not only the API.
    """
    check_run(run)
    from multimodal.demo.front import HOME, parse_hosts, parse_root_path
    from multimodal.demo.listening import address_text, is_loopback, listen

    named, (prefix, address) = parse_hosts(hosts), parse_root_path(root_path)
    if max_upload_mb < 1:
        raise UserError(f"max_upload_mb is {max_upload_mb} but must be at least 1")
    with listen(host, port) as opened:
        import uvicorn

        from multimodal.demo.app import build_app
        from multimodal.demo.doors import Keys
        from multimodal.demo.heads import TimedHeads
        from multimodal.demo.reading import narrow_pillow
        from multimodal.demo.service import Limits

        keys = None if api_key_file is None else Keys(api_key_file)
        if keys is None and (named or not is_loopback(host)):
            reached = f"--hosts {' '.join(named)}" if named else host
            warnings.warn(
                f"{reached} can be reached from elsewhere and anybody may ask; give --api_key_file",
                stacklevel=2,
            )
        limits = Limits(waiting=waiting, seconds=seconds, batch=batch)
        names = [*HOME, *parse_hosts([host]), *named] if named or is_loopback(host) else None
        with build_app(
            run, limits, keys, max_upload_mb, device, page=page, names=names,
            prefix=prefix, address=address,
        ) as app:  # fmt: skip
            here = f"http://{address_text(host.strip('[]'), opened.getsockname()[1])}{prefix}"
            print(f"{here} serves {run}; the API is described at /docs", flush=True)
            narrow_pillow()
            config = uvicorn.Config(
                app, log_level="warning", timeout_graceful_shutdown=5, http=TimedHeads
            )
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[opened])


def check_run(run: Path) -> None:
    """Raise unless the folder holds the models that a run needs."""
    from multimodal.stages import stages

    if (run / "prior" / "last.ckpt").is_file() and (run / "alignment" / "last.ckpt").is_file():
        return
    minutes = sum(
        stage.minutes * (1.0 if stage.alone else 0.5)  # two go on side by side
        for stage in stages(run, "cpu", smoke=False)
    )
    raise UserError(
        f"{run} holds no trained models; make them with: make quickstart OUT={run} (about "
        f"{minutes:.0f} minutes on two cores), or name another folder with --run"
    )


def gather_hosts(argv: Sequence[str]) -> list[str]:
    """Rewrite --hosts as the parser takes it: several names, given at once or one after the other.

    `--hosts a.org b.org --port 80 --hosts=c.org` becomes
    `--port 80 --hosts=["a.org", "b.org", "c.org"]`.
    """
    words, others, names = list(argv), [], []
    while words:
        option, equals, value = words.pop(0).partition("=")
        if option != "--hosts":
            others.append(option + equals + value)
            continue
        names += [value] if equals else []
        while not equals and words and not words[0].startswith("--"):
            names.append(words.pop(0))
    return [*others, f"--hosts={json.dumps(names)}"] if names else others


if __name__ == "__main__":
    command(serve, gather_hosts(sys.argv[1:]))
