"""The tab *Any to any*: draw, say, film or write something, and choose what is made of it."""

import html
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, no_type_check

import gradio as gr
import numpy as np
from PIL import Image

from core.errors import UserError
from multimodal.demo.folders import Folders, pack, write_made
from multimodal.demo.monitor import Monitor
from multimodal.demo.offered import offer_of
from multimodal.demo.replies import command_line
from multimodal.demo.service import Failed, Finished, Made, Progress, QueueFull, Request, Service
from multimodal.demo.uploads import read_weighed, typed
from multimodal.towers import MODALITIES
from multimodal.wish import Wish

MOST = 4
"""Samples that the page shows."""
CANVAS, HEIGHT = 320, 300
"""Side of the drawing sheet and height of other inputs, in pixels."""
INKS = ("#101010", "#d62828", "#2a9d3a", "#2f4bd6", "#e8c61e", "#8a2bc2", "#12b5c9", "#ffffff")
STEP_NAMES = {
    "queue": "waiting for its turn",
    "embed": "reading what was given",
    "text": "writing the caption",
    "image": "painting the image",
    "audio": "speaking",
    "video": "filming",
}
TAKE_BRUSH = """() => {
  const take = setInterval(() => {
    const brush = document.querySelector('#drawing button[aria-label="Brush"]');
    if (brush) { brush.click(); clearInterval(take); }
  }, 100);
  setTimeout(() => clearInterval(take), 20000);
}"""
"""What a browser runs when the page is there: the sheet waits for a stroke, not for a tool."""
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Inputs:
    """Where people put what they give."""

    drawing: gr.Sketchpad
    image: gr.Image
    audio: gr.Audio
    video: gr.Video
    text: gr.Textbox


@dataclass(frozen=True)
class Settings:
    """How it is made."""

    to: gr.CheckboxGroup
    count: gr.Slider
    seed: gr.Number
    guidance: gr.Slider
    steps: gr.Slider
    first_frame: gr.Checkbox


@dataclass(frozen=True)
class Shown:
    """One sample's place on the page."""

    row: gr.Row
    cells: Mapping[str, gr.Column]
    signals: Mapping[str, Any]
    again: Mapping[str, gr.Button]


@dataclass(frozen=True)
class Result:
    """What the page says of a request as a whole."""

    state: gr.HTML
    command: gr.Code
    everything: gr.DownloadButton


def any_tab(service: Service, monitor: Monitor, folders: Folders) -> None:
    """Lay out the tab and let its buttons do their work; it offers what the run has models for."""
    offer = service.call(offer_of)
    with gr.Row(elem_classes="any"):
        with gr.Column(scale=8, min_width=680):
            inputs = _inputs(offer.inputs)
        with gr.Column(scale=5):
            settings = _settings(offer.outputs)
            with gr.Row():
                make = gr.Button("Make it", variant="primary", elem_id="make", min_width=120)
                stop = gr.Button("Stop", elem_id="stop", min_width=70)
                clear = gr.Button("Clear", elem_id="clear", min_width=70)
    state = gr.HTML("", elem_id="state")
    shown = [_shown(number) for number in range(MOST)]
    result = _result(state)
    desk = Desk(service, monitor, folders, result, shown)
    values = [inputs.drawing, inputs.image, inputs.audio, inputs.video, inputs.text]
    values += [settings.to, settings.count, settings.seed, settings.guidance, settings.steps]
    outputs = [result.state, result.command, result.everything]
    outputs += [x for place in shown for x in (place.row, *place.cells.values())]
    outputs += [signal for place in shown for signal in place.signals.values()]
    work = make.click(
        desk.make, [*values, settings.first_frame], outputs,
        concurrency_limit=16, show_progress="hidden",
    )  # fmt: skip
    stop.click(lambda: _state("stopped"), None, result.state, cancels=[work], queue=False)
    clear.click(lambda: [None, None, None, None, ""], None, values[:5], queue=False)
    for place in shown:
        _send_back(place, inputs)


class Desk:
    """Turns what is on the page into a request, and its events into what the page shows."""

    def __init__(
        self,
        service: Service,
        monitor: Monitor,
        folders: Folders,
        result: Result,
        shown: list[Shown],
    ):
        self.service, self.monitor, self.folders = service, monitor, folders
        self.result, self.shown = result, shown

    @no_type_check  # Gradio looks whether it is a generator, which a checked one hides
    def make(
        self,
        drawing: Mapping[str, Any] | None,
        image: str | None,
        audio: str | None,
        video: str | None,
        text: str | None,
        to: list[str],
        count: int | float,
        seed: int | float | None,
        guidance: int | float,
        steps: int | float,
        first_frame: bool,
    ) -> Iterator[Updates]:
        """Yield what changes on the page until everything is there."""
        begun = time.monotonic()
        yield self._cleared() | self._state("reading what was given")
        try:
            given = self._given(drawing, {"image": image, "audio": audio, "video": video}, text)
            sizes = self.service.unison.sizes
            signals = {name: _read(name, value, sizes[name]) for name, value in given.items()}
            order = [name for name in MODALITIES if name in to]
            settings = (int(count), int(seed or 0), float(guidance), int(steps) or None)
            wish = Wish(signals, order, *settings, first_frame)
            request = self.service.submit(wish)
        except (ValueError, QueueFull) as error:
            yield self._failed(str(error), "invalid" if isinstance(error, ValueError) else "full")
            return
        yield from self._follow(request, given, begun)

    def _follow(
        self, request: Request, given: Mapping[str, str], begun: float
    ) -> Iterator[Updates]:
        folder, made = self.folders.new(), {}
        for event in request:
            match event:
                case Progress(step, done, total):
                    yield self._state(STEP_NAMES[step], done / total)
                case Made(modality, signals):
                    made[modality] = write_made(
                        folder, request.wish, modality, signals, self.service.rate
                    )
                    yield self._show(modality, signals, made[modality])
                case Failed(message, fault):
                    yield self._failed(message, fault)
                case Finished():
                    yield self._finished(request, given, made, folder, begun)

    def _given(
        self, drawing: Mapping[str, Any] | None, files: Mapping[str, str | None], text: str | None
    ) -> dict[str, str]:
        """Return the path of each file that was given, and the caption."""
        given = {} if not (text or "").strip() else {"text": " ".join(str(text).split())}
        given |= {name: path for name, path in files.items() if path}
        picture = drawn(drawing)
        if picture is None:
            return given
        if "image" in given:
            raise UserError("a drawing and a picture are both there; clear one of them")
        path = self.folders.new() / "drawing.png"
        picture.save(path)
        return given | {"image": str(path)}

    def _cleared(self) -> Updates:
        hidden = {place.row: gr.update(visible=False) for place in self.shown}
        cells = {c: gr.update(visible=False) for p in self.shown for c in p.cells.values()}
        buttons = {self.result.everything: gr.update(visible=False, value=None)}
        return hidden | cells | buttons | {self.result.command: gr.update(visible=False)}

    def _show(self, modality: str, signals: Any, paths: list[Path]) -> Updates:
        """Put one modality of each sample in its place."""
        updates: Updates = {}
        for place, signal, path in zip(self.shown, signals, paths, strict=False):
            value = signal if modality == "text" else str(path)
            updates[place.signals[modality]] = value
            updates[place.row] = updates[place.cells[modality]] = gr.update(visible=True)
        return updates

    def _finished(
        self,
        request: Request,
        given: Mapping[str, str],
        made: Mapping[str, list[Path]],
        folder: Path,
        begun: float,
    ) -> Updates:
        seconds = time.monotonic() - begun
        self.monitor.requests.labels("page", "finished").inc()
        self.monitor.latency.labels("page").observe(seconds)
        line = command_line(request.wish, given, self.service.unison.run)
        everything = pack(folder, given, made, line)
        return self._state(f"made in {seconds:.1f} s", 1.0, "done") | {
            self.result.command: gr.update(value=line, visible=True),
            self.result.everything: gr.update(value=str(everything), visible=True),
        }

    def _failed(self, message: str, fault: str) -> Updates:
        self.monitor.requests.labels("page", fault).inc()
        if fault != "full":
            self.monitor.failures.labels(fault).inc()
        return self._state(message, kind="error")

    def _state(self, words: str, share: float = 0.0, kind: str = "work") -> Updates:
        return {self.result.state: _state(words, share, kind)}


def drawn(drawing: Mapping[str, Any] | None) -> Image.Image | None:
    """Return what is on the sheet, on white, or None if nothing is."""
    picture = None if drawing is None else drawing.get("composite")
    if picture is None:
        return None
    picture = picture.convert("RGBA")
    sheet = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(sheet, picture).convert("RGB")
    return flat if np.ptp(np.asarray(flat), axis=(0, 1)).any() else None


def _read(modality: str, value: str, size: Mapping[str, int]) -> Any:
    if modality == "text":
        return typed(value)
    return read_weighed(modality, Path(value), Path(value).name, size)


def _state(words: str, share: float = 0.0, kind: str = "work") -> str:
    """Return the line that says how far it is."""
    bar = f'<span class="bar"><i style="width:{share:.0%}"></i></span>' if kind == "work" else ""
    return f'<div class="state {kind}" role="status">{bar}{html.escape(words)}</div>'


def _inputs(there: Collection[str]) -> Inputs:
    gr.Markdown("### Give something, or nothing")
    text = gr.Textbox(
        label="Say it in words: all of it, or a part",
        placeholder="something red",
        max_length=1000,
        elem_id="words",
        visible="text" in there,
    )
    with gr.Row():
        with gr.Column(scale=4, min_width=400, visible="image" in there):
            drawing = gr.Sketchpad(
                label="Draw a digit",
                type="pil",
                format="png",  # the default would lose what lies between pixels
                brush=gr.Brush(default_size=22, colors=list(INKS), default_color=INKS[1]),
                eraser=gr.Eraser(default_size=26),
                layers=False,
                transforms=(),
                canvas_size=(CANVAS, CANVAS),
                fixed_canvas=True,
                height=CANVAS + 84,
                elem_id="drawing",
            )
        with gr.Column(scale=3, min_width=240):
            with gr.Tab("Picture", visible="image" in there):
                image = gr.Image(
                    show_label=False, type="filepath", sources=["upload", "clipboard", "webcam"],
                    height=HEIGHT, elem_id="picture",
                )  # fmt: skip
                image.preprocess = (
                    _path  # else Gradio decodes it, and tells mistakes in its own way
                )
            with gr.Tab("Sound", visible="audio" in there):
                audio = gr.Audio(
                    show_label=False, type="filepath", sources=["upload", "microphone"],
                    elem_id="sound",
                )  # fmt: skip
            with gr.Tab("Clip", visible="video" in there):
                video = gr.Video(
                    show_label=False, sources=["upload", "webcam"], height=HEIGHT, elem_id="clip"
                )
    return Inputs(drawing, image, audio, video, text)


def _path(payload: Any) -> str | None:
    """Return where an uploaded file lies, unread."""
    return None if payload is None else payload.path


def _settings(there: Sequence[str]) -> Settings:
    gr.Markdown("### Choose what is made of it")
    to = gr.CheckboxGroup(
        list(there), value=[m for m in there if m != "video"], label="Make", elem_id="to"
    )
    first_frame = gr.Checkbox(
        False,
        label="The clip starts from the picture (given, or else made)",
        elem_id="first",
        visible="video" in there,
    )
    with gr.Row():
        count = gr.Slider(1, MOST, 1, step=1, label="Samples", elem_id="count")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")
    with gr.Row():
        guidance = gr.Slider(
            1, 6, 2, step=0.25, label="Guidance", info="1: none", elem_id="guidance"
        )
        steps = gr.Slider(0, 60, 0, step=1, label="Steps", info="0: as trained", elem_id="steps")
    return Settings(to, count, seed, guidance, steps, first_frame)


def _result(state: gr.HTML) -> Result:
    command = gr.Code(
        visible=False, language="shell", label="The same on the command line", lines=1,
        wrap_lines=True, interactive=False, elem_id="command",
    )  # fmt: skip
    everything = gr.DownloadButton(
        "Download all of it, inputs and command included", visible=False, size="sm",
        elem_id="everything",
    )  # fmt: skip
    return Result(state, command, everything)


def _shown(number: int) -> Shown:
    """Lay out the place of one sample."""
    cells, signals, again = {}, {}, {}
    with gr.Row(visible=False, elem_classes="sample", elem_id=f"sample-{number}") as row:
        for modality in MODALITIES:
            name = f"{modality}-{number}"
            with gr.Column(min_width=200, visible=False, elem_id=f"cell-{name}") as cell:
                signals[modality] = _signal(modality, f"made-{name}")
                again[modality] = gr.Button("Use as input", size="sm", elem_id=f"again-{name}")
            cells[modality] = cell
    return Shown(row, cells, signals, again)


def _signal(modality: str, name: str) -> Any:
    shown: dict[str, Any] = {"interactive": False, "elem_id": name}
    match modality:
        case "text":
            return gr.Textbox(label="Caption", lines=3, buttons=["copy"], **shown)
        case "image":
            return gr.Image(label="Image", height=256, buttons=["download", "fullscreen"], **shown)
        case "audio":
            return gr.Audio(label="Sound", buttons=["download"], **shown)
        case _:
            return gr.Video(label="Clip", height=256, autoplay=True, loop=True, **shown)


def _send_back(place: Shown, inputs: Inputs) -> None:
    """Let what was made be the next input."""
    for modality, button in place.again.items():
        target = getattr(inputs, modality)
        button.click(lambda made: made, place.signals[modality], target, queue=False)
