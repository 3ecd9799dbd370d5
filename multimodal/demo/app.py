"""The page and the API as one application."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from starlette.types import ASGIApp

from core.errors import UserError
from multimodal.demo.api import build_api
from multimodal.demo.doors import BodyGuard, KeyGuard, Keys
from multimodal.demo.front import Front
from multimodal.demo.monitor import Monitor
from multimodal.demo.offered import offer_of
from multimodal.demo.page_doors import PageGuard
from multimodal.demo.reading import pool
from multimodal.demo.service import Limits, Service
from multimodal.unison import Unison
from multimodal.wish import Wish

GUARDED = ("/generate", "/metrics", "/docs", "/openapi.json", "/redoc")


@contextmanager
def build_app(
    run: Path,
    limits: Limits = Limits(),
    keys: Keys | None = None,
    max_upload_mb: int = 16,
    device: str = "auto",
    *,
    page: bool = True,
    names: Sequence[str] | None = None,
    prefix: str = "",
    address: str = "",
) -> Iterator[ASGIApp]:
    """Yield the application of a run; at the end its computing thread ends.

    Args:
        run: Folder of the models.
        limits: What is taken on.
        keys: Who has none of them is turned away; None lets everybody in.
        max_upload_mb: Largest body of a request.
        device: Where to compute.
        page: Serve the page, too.
        names: Host names that a browser may have asked for; None is any. For a service of this
            machine alone they keep other sites from reaching it by a name that they control.
        prefix: Path below which a proxy serves it, such as "/unison".
        address: The page's whole public address, where requests do not tell it.
    """
    monitor = Monitor()
    service = Service(Unison(run, device), limits, monitor)
    try:
        pool().warm_up()
        warm_up(service)
        monitor.attend(service)
        api = build_api(service, monitor)
        if page:
            from multimodal.demo.page import add_page

            add_page(api, service, monitor, keys, max_upload_mb, address or prefix)
        app: ASGIApp = BodyGuard(PageGuard(api), max_upload_mb * 2**20)
        app = app if keys is None else KeyGuard(app, keys, GUARDED)
        yield Front(app, names, prefix)
    finally:
        service.close()


def warm_up(service: Service) -> None:
    """Make one of everything, so that the models are there when the first visitor asks."""
    made = service.call(offer_of).outputs
    if not made:
        raise UserError(
            f"{service.unison.run} has no model that makes anything; train one, for instance with: "
            f"python -m image.train --out {service.unison.run / 'image'}"
        )
    for _ in service.submit(Wish({}, made)):
        pass
