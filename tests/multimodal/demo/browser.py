"""A page served by a thread, and a headless Chromium before it."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARTEFACTS = Path(os.environ.get("UNISON_ARTEFACTS", "runs/artefacts"))
"""Where screenshots are kept."""
SWITCHES = """no-sandbox disable-gpu disable-quic no-first-run disable-sync mute-audio
disable-background-networking disable-component-update use-fake-device-for-media-stream
use-fake-ui-for-media-stream autoplay-policy=no-user-gesture-required"""
QUIET = [f"--{switch}" for switch in SWITCHES.split()]


@contextmanager
def served(app) -> Iterator[str]:
    """Serve an application on a free port of this machine, and yield its address."""
    import uvicorn

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


def service_of(app):
    """Return the service behind an application and its guards."""
    while not hasattr(app, "state"):
        app = app.app
    return app.state.service


@contextmanager
def chromium(*switches: str):
    """Yield a headless Chromium, or skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *switches])
        yield browser
        browser.close()


def keep(page, name: str) -> None:
    """Keep a screenshot of the whole page."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)


def draw(page, corners: Sequence[tuple[float, float]], after: Callable[[], object] = int) -> None:
    """Draw on the sheet with the mouse, from corner to corner.

    Args:
        page: The open page.
        corners: Shares of the sheet's width and height.
        after: Called after each line.
    """
    box = page.locator("#drawing canvas").first.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=10)
        after()
    page.mouse.up()
    page.wait_for_timeout(500)  # the editor gathers a stroke for a moment
