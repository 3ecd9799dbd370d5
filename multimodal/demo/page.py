"""The page: its tabs, its looks, and its place beside the API."""

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from starlette.routing import Mount

from multimodal.demo.doors import Keys
from multimodal.demo.folders import Folders
from multimodal.demo.monitor import Monitor
from multimodal.demo.offered import offer_of, why_no_inside, why_no_map
from multimodal.demo.service import Service

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # nothing is reported to anybody
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")  # it would connect to accounts elsewhere
MOST_WAITING = 64
"""Clicks on all pages together that may wait."""
STYLE = Path(__file__).with_name("page.css")
COOKIES = ("access-token", "access-token-unsecure")
"""Begin the names of Gradio's."""
HEAD = """
# Unison

Draw a seven and hear it named; say *left* and watch it go. Whatever is left open is drawn at
random. The models know ten digits, eight colours, four sizes and four moves: nothing else.
"""


def add_page(
    api: FastAPI,
    service: Service,
    monitor: Monitor,
    keys: Keys | None,
    max_upload_mb: int,
    root: str = "",
) -> None:
    """Put the page before the API's paths, at /; `root` is its public path or whole address."""
    import gradio as gr

    folders = Folders()
    api.router.on_shutdown.append(folders.close)
    report = service.unison.run / "report.html"

    @api.get("/report", include_in_schema=False)
    def report_page(request: Request) -> FileResponse:
        if keys is not None and not _logged_in(api, request):
            raise HTTPException(401, "log in to the page first")
        if not report.is_file():
            raise HTTPException(404, "the run has no report")
        return FileResponse(report, media_type="text/html")

    page = build_page(service, monitor, folders, root)
    # Of a page that is mounted, not launched, Gradio takes any path of this machine for an upload.
    page.has_launched = True
    gr.mount_gradio_app(
        api,
        page,
        path="/",
        root_path=root or None,
        auth=None if keys is None else (lambda _, key: keys.has(key)),
        auth_message="Any name; the password is a key.",
        allowed_paths=[str(folders.root)],
        max_file_size=max_upload_mb * 2**20,
        theme=gr.themes.Base(
            font=["ui-sans-serif", "system-ui", "sans-serif"],
            font_mono=["ui-monospace", "Consolas", "monospace"],
        ),
        css_paths=[STYLE],
        footer_links=[],
        ssr_mode=False,
    )


def _logged_in(api: FastAPI, request: Request) -> bool:
    """Tell whether a browser has logged in to Gradio, which is mounted last."""
    mounted: Any = next(route for route in reversed(api.routes) if isinstance(route, Mount)).app
    tokens = (request.cookies.get(f"{name}-{mounted.cookie_id}") for name in COOKIES)
    return any(token in mounted.tokens for token in tokens if token)


def build_page(service: Service, monitor: Monitor, folders: Folders, root: str = ""):
    """Return the page with all its tabs."""
    import gradio as gr

    from multimodal.demo.any_tab import TAKE_BRUSH, any_tab
    from multimodal.demo.inside_tab import inside_tab
    from multimodal.demo.space_tab import space_tab

    offer = service.call(offer_of)
    with gr.Blocks(title="Unison", delete_cache=(3600, 3600), analytics_enabled=False) as page:
        gr.Markdown(HEAD)
        with gr.Tab("Any to any"):
            any_tab(service, monitor, folders)
        with gr.Tab("The shared space"):
            if missing := why_no_map(service.unison, offer):
                gr.Markdown(missing)
            else:
                space_tab(service, offer.outputs)
        with gr.Tab("Inside"):
            if missing := why_no_inside(offer):
                gr.Markdown(missing)
            else:
                inside_tab(service, offer.outputs)
        with gr.Tab("Numbers"):
            _numbers(service.unison.run, root)
        page.load(None, js=TAKE_BRUSH)
    return page.queue(max_size=MOST_WAITING, default_concurrency_limit=4)


def _numbers(run: Path, root: str) -> None:
    import gradio as gr

    if (run / "report.html").is_file():
        gr.HTML(f'<iframe src="{root}/report" title="The run\'s report" class="report"></iframe>')
        return
    gr.Markdown(
        f"`{run}` has no report. Measure it with: `python -m multimodal.evaluate --run {run} "
        "--split test`, which `make quickstart` does at its end."
    )
