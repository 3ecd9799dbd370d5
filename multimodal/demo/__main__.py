"""Serve a run: a page to draw, speak and watch on, and an HTTP API beside it.

    python -m multimodal.demo --run runs/quickstart

It listens on this machine only, unless --host says otherwise; then give it --api_key_file.
"""

import ipaddress
import socket
import warnings
from pathlib import Path

from core.cli import command
from core.errors import UserError

HOME = ("localhost", "127.0.0.1", "[::1]")
"""Names by which this machine calls itself."""


def serve(
    run: Path = Path("runs/quickstart"),
    host: str = "127.0.0.1",
    port: int = 7860,
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
        port: Port to listen on.
        api_key_file: Keys, one a line: who has none is turned away.
        max_upload_mb: Largest body of a request.
        waiting: Requests at a time; more are refused with 429.
        seconds: Time for a request, waiting included.
        batch: Samples of all requests that a model makes at a time.
        device: cpu, cuda, mps, or auto for the fastest there is.
        page: Serve the page, too, not only the API.
    """
    check_run(run)
    _check_free(host, port)
    import uvicorn

    from multimodal.demo.app import build_app
    from multimodal.demo.doors import Keys
    from multimodal.demo.heads import TimedHeads
    from multimodal.demo.reading import narrow_pillow
    from multimodal.demo.service import Limits

    keys = None if api_key_file is None else Keys(api_key_file)
    if keys is None and not is_loopback(host):
        warnings.warn(
            f"{host} can be reached from elsewhere and anybody may ask; give --api_key_file",
            stacklevel=2,
        )
    if max_upload_mb < 1:
        raise UserError(f"max_upload_mb is {max_upload_mb} but must be at least 1")
    limits = Limits(waiting=waiting, seconds=seconds, batch=batch)
    names = HOME if is_loopback(host) else None
    with build_app(run, limits, keys, max_upload_mb, device, page=page, names=names) as app:
        print(f"http://{host}:{port} serves {run}; the API is described at /docs", flush=True)
        narrow_pillow()
        uvicorn.run(
            app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=5,
            http=TimedHeads,
        )  # fmt: skip


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


def is_loopback(host: str) -> bool:
    """Tell whether an address reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{host}:{port} cannot be listened on ({reason}); choose another --port"
            ) from None


if __name__ == "__main__":
    command(serve)
