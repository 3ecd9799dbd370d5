"""The HTTP API: POST /generate, /healthz, /metrics, and a page about them at /docs."""

import json
import math
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal, no_type_check

from fastapi import FastAPI, File, Form, HTTPException, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi_offline import FastAPIOffline
from starlette.datastructures import UploadFile as FormFile
from starlette.requests import Request as HttpRequest

from multimodal.demo.monitor import Monitor
from multimodal.demo.replies import as_json, as_zip, command_line, samples_of
from multimodal.demo.service import Event, Failed, Finished, Made, Progress, Request, Service
from multimodal.demo.service import QueueFull as Full
from multimodal.demo.uploads import printable, receive, typed
from multimodal.wish import Wish, modality_names

STATUS = {"invalid": 422, "late": 504, "cancelled": 503, "broken": 500}
"""HTTP status of each fault."""
AGAIN = 2
"""Seconds after which one who was refused may ask again."""
NDJSON = "application/x-ndjson"
Format = Literal["json", "stream", "zip"]


def build_api(service: Service, monitor: Monitor) -> FastAPI:
    """Return the application; nothing is computed before it is asked."""
    app = FastAPIOffline(
        title="Unison",
        description="Any of text, image, audio and video from any set of them.",
        version="1",
    )
    app.exception_handler(RequestValidationError)(_invalid)
    app.state.service = service

    @app.post("/generate", responses={code: {"description": what} for code, what in ERRORS.items()})
    @no_type_check  # FastAPI hands over Starlette's UploadFile where it wants its own named
    def generate(
        to: Annotated[list[str], Form(description="Modalities to make, repeated or with commas.")],
        text: Annotated[str | None, Form(description="A caption; it may say a part only.")] = None,
        image: Annotated[UploadFile | None, File(description="PNG, JPEG or WebP.")] = None,
        audio: Annotated[UploadFile | None, File(description="WAV, FLAC, OGG or MP3.")] = None,
        video: Annotated[UploadFile | None, File(description="MP4, WebM, GIF or WebP.")] = None,
        count: Annotated[int, Form(description="Samples.")] = 1,
        seed: Annotated[int, Form(description="The first sample's; the next has one more.")] = 0,
        guidance: Annotated[float | None, Form(description="Weight of the condition.")] = None,
        steps: Annotated[int | None, Form(description="Solver steps.")] = None,
        first_frame: Annotated[bool, Form(description="The video starts from the image.")] = False,
        format: Annotated[
            Format, Form(description="All at once, a line an event, or a ZIP of files.")
        ] = "json",
    ) -> Response:
        """Generate any modalities from any, or from none: a joint sample.

        Files come back in base64 with their media type; under `stream` each line is an event
        (`queue`, `step`, `made`, `failed`, `finished`) and comes as soon as it happens.
        """
        files = {"image": image, "audio": audio, "video": video}
        settings = (modality_names(to), count, seed, guidance, steps, first_frame)
        asked = Asked(service, monitor)
        request = asked.submit(text, files, settings)
        if format == "stream":
            return StreamingResponse(asked.lines(request), media_type=NDJSON)
        made = asked.all(request)
        about = asked.about(request)
        if format == "zip":
            return Response(
                as_zip(request.wish, made, about, service.rate), media_type="application/zip"
            )
        return JSONResponse(about | {"samples": samples_of(request.wish, made, service.rate)})

    @app.get("/healthz", response_class=JSONResponse)
    async def healthz() -> dict[str, Any]:
        """Tell whether the service works: the computing thread answers."""
        if not service.alive:
            raise HTTPException(503, "the computing thread has ended; start the service again")
        return {"status": "ok", "run": service.unison.run.name, "waiting": service.waiting}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Requests, latency, queue, failures and drift of the inputs, for Prometheus."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(monitor.page(), headers={"content-type": kind})

    return app


ERRORS = {
    401: "A key is needed.",
    413: "The body is too large.",
    422: "An input that cannot be read, or an option out of its range.",
    429: "Too many requests wait; ask again in a moment.",
    500: "A defect; the log says more.",
    503: "The service ends.",
    504: "Not done in time.",
}


class Asked:
    """One HTTP request, from its form to its answer."""

    def __init__(self, service: Service, monitor: Monitor):
        self.service, self.monitor = service, monitor
        self.begun = time.monotonic()
        self.given: dict[str, str] = {}
        self.seconds = math.nan

    def submit(
        self, text: str | None, files: dict[str, FormFile | None], settings: tuple[Any, ...]
    ) -> Request:
        """Read what is given and put it in the queue.

        Raises:
            HTTPException: 422 for what cannot be read or done, 429 if too many wait.
        """
        try:
            signals = {} if text is None else {"text": typed(text)}
            self.given = {} if text is None else {"text": text}
            sizes = self.service.unison.sizes
            for modality, file in files.items():
                if file is not None:
                    signals[modality] = receive(
                        modality, file.file.read(), file.filename or "", sizes[modality]
                    )
                    self.given[modality] = printable(file.filename or modality)
            return self.service.submit(Wish(signals, *settings))
        except ValueError as error:
            self._count(422, "invalid")
            raise HTTPException(422, _line(error)) from None
        except Full as error:
            self._count(429)
            raise HTTPException(429, str(error), headers={"Retry-After": str(AGAIN)}) from None

    def all(self, request: Request) -> dict[str, Any]:
        """Wait for everything."""
        made = {}
        for event in request:
            match event:
                case Made(modality, signals):
                    made[modality] = signals
                case Failed(message, fault):
                    self._count(STATUS[fault], fault)
                    raise HTTPException(STATUS[fault], message)
                case Finished(seconds):
                    self._done(seconds)
        return made

    def lines(self, request: Request) -> Iterator[str]:
        """Yield a line of JSON for each event."""
        for event in request:
            yield json.dumps(self._told(request, event)) + "\n"

    def about(self, request: Request) -> dict[str, Any]:
        """Return the time that it took and the command that makes the same."""
        line = command_line(request.wish, self.given, self.service.unison.run)
        return {"seconds": round(self.seconds, 3), "command": line}

    def _told(self, request: Request, event: Event) -> dict[str, Any]:
        match event:
            case Progress(step, done, total):
                return {"event": "queue" if step == "queue" else "step", "step": step,
                        "done": done, "total": total}  # fmt: skip
            case Made(modality, signals):
                rate = self.service.rate
                samples = [as_json(modality, signal, rate) for signal in signals]
                return {"event": "made", "modality": modality, "samples": samples}
            case Failed(message, fault):
                self._count(STATUS[fault], fault)
                return {"event": "failed", "detail": message, "status": STATUS[fault]}
            case Finished(seconds):
                self._done(seconds)
                return {"event": "finished"} | self.about(request)

    def _done(self, seconds: float) -> None:
        self.seconds = seconds
        self._count(200)
        self.monitor.latency.labels("api").observe(time.monotonic() - self.begun)

    def _count(self, status: int, fault: str | None = None) -> None:
        self.monitor.requests.labels("api", status).inc()
        if fault:
            self.monitor.failures.labels(fault).inc()


def _line(error: ValueError) -> str:
    return " ".join(str(error).split())


async def _invalid(request: HttpRequest, error: Exception) -> JSONResponse:
    """Answer one line instead of a list that repeats what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse({"detail": f"{name}: {first['msg']}; see /docs"}, 422)
