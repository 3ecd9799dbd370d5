"""Claims about the page, made with a mouse in a real browser."""

import shlex
import threading
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from core.cli import command, plain_options
from multimodal.demo.app import build_app
from multimodal.generate import FLAGS, generate
from tests.multimodal.demo.browser import chromium, draw, keep, served, service_of
from tests.tiny_run import write_models

FIXTURES = Path("tests/fixtures").absolute()
SEVEN = [(0.34, 0.3), (0.66, 0.3), (0.45, 0.7)]
"""Corners of a seven, as shares of the canvas."""
PATIENCE = 90_000
NOTE_PLAYED = """window.played = []; const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  window.played.push(this); return play.call(this); };"""
"""The player of sounds keeps its element out of the page: whatever plays is noted."""
ADVANCES = """(() => { const clip = document.querySelector('#made-video-0 video');
if (clip?.paused) clip.play().catch(() => {}); return clip?.currentTime > 0.2; })()"""
"""Whether the clip goes on; a loaded machine may leave it paused at its first frame."""
CLIP = """(() => { const clip = document.querySelector('#made-video-0 video');
if (!clip) return document.querySelector('#made-video-0')?.outerHTML.slice(0, 2000);
return [clip.src, clip.paused, clip.currentTime, clip.duration, clip.readyState,
  clip.networkState, clip.error?.message]; })()"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def app(browser, tmp_path_factory):
    run = write_models(tmp_path_factory.mktemp("runs") / "tiny")
    with build_app(run, device="cpu") as app:
        yield app


@pytest.fixture(scope="module")
def address(app):
    with served(app) as address:
        yield address


@pytest.fixture
def visit(browser, address):
    """Return a function that opens the page for one more visitor."""
    contexts = []

    def open_page():
        contexts.append(browser.new_context(viewport={"width": 1300, "height": 1000}))
        contexts[-1].add_init_script(NOTE_PLAYED)
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_selector('#drawing button[aria-label="Brush"].highlight')
        return page

    yield open_page
    for context in contexts:
        context.close()


def choose(page, *modalities):
    """Tick what is to be made; a page that is just built may untick it on a loaded machine."""
    boxes = {n: page.locator("#to").get_by_label(n) for n in ("text", "image", "audio", "video")}
    for _ in range(600):
        for name, box in boxes.items():
            box.set_checked(name in modalities)
        page.wait_for_timeout(100)
        if all(box.is_checked() == (name in modalities) for name, box in boxes.items()):
            return
    pytest.fail(f"the page does not keep that {modalities} are to be made")


def make(page, ends="done"):
    """Press the button, wait for the end and return what the page says."""
    page.evaluate("document.querySelector('#state .state')?.remove()")
    page.click("#make")
    page.wait_for_selector(f".state.{ends}")
    return page.inner_text("#state")


def line_of(page):
    return page.inner_text("#command .cm-content")


def again(line, out):
    """Run the command that the page shows, and return the folder that it wrote."""
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "multimodal.generate"]
    argv = [*words[3 : words.index("--out")], "--out", str(out)]
    command(generate, plain_options(argv, lists=("--to",), flags=FLAGS))
    return out


def wait_for_clip(page):
    """Wait until the clip goes on; say how it stands if it does not."""
    from playwright.sync_api import TimeoutError as TooLong

    try:
        page.wait_for_function(ADVANCES, polling=200)  # frames may stop coming, time does not
    except TooLong:
        pytest.fail(f"the clip does not go on: {page.evaluate(CLIP)}, of {line_of(page)}")


def fetched(page, selector):
    """Return the bytes behind an element's source."""
    source = page.locator(selector).first.get_attribute("src")
    return page.request.get(source).body()


def test_a_drawing_becomes_a_caption_a_picture_a_sound_and_a_clip(visit, tmp_path):
    page = visit()
    draw(page, SEVEN)
    choose(page, "text", "image", "audio", "video")
    assert make(page).startswith("made in")
    page.wait_for_function("document.querySelector('#made-image-0 img')?.naturalWidth == 256")
    wait_for_clip(page)
    keep(page, "drawing")
    line = line_of(page)
    assert "drawing.png" in line
    folder = again(line, tmp_path / "out")
    assert (folder / "0.png").read_bytes() == fetched(page, "#made-image-0 img")
    assert (folder / "0.mp4").read_bytes() == fetched(page, "#made-video-0 video")
    shown = page.input_value("#made-text-0 textarea")
    assert (folder / "0.txt").read_text().strip() == shown.strip()


def test_a_sound_can_be_played(visit):
    page = visit()
    choose(page, "audio")
    make(page)
    page.locator("#made-audio-0").get_by_label("Play", exact=True).click()
    page.wait_for_function("window.played.some(sound => sound.currentTime > 0.1)")
    assert page.evaluate("window.played.length") == 1


def test_what_was_made_is_the_next_input_and_a_chain_goes_on(visit):
    page = visit()
    page.get_by_role("tab", name="Sound").click()
    page.locator("#sound input[type=file]").set_input_files(FIXTURES / "seven.wav")
    page.wait_for_selector("#sound [aria-label='Play']")
    choose(page, "image")
    assert "--audio" in (make(page), line_of(page))[1]
    page.click("#again-image-0")
    page.get_by_role("tab", name="Picture").click()
    page.wait_for_selector("#picture img")
    page.get_by_role("tab", name="Sound").click()
    page.locator("#sound").get_by_label("Clear").click()
    choose(page, "text", "video")
    page.locator("#first").get_by_role("checkbox").check()
    make(page)
    line = line_of(page)
    assert "--image" in line
    assert "--audio" not in line
    assert "--first-frame" in line
    assert page.is_hidden("#cell-image-0")


def test_nothing_given_is_a_joint_sample_of_several(visit):
    page = visit()
    page.locator("#count input[type=number]").fill("3")
    choose(page, "text")
    make(page)
    assert [page.is_visible(f"#made-text-{n}") for n in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("tab", "box", "file", "told"),
    [("Clip", "#clip", "seven.png", "Invalid file type: seven.png"),
     ("Sound", "#sound", "fake.wav", "fake.wav is not a WAV, FLAC, OGG"),
     ("Picture", "#picture", "fake.png", "fake.png is no picture of these kinds"),
     ("Clip", "#clip", "fake.mp4", "fake.mp4 is no clip")],
)  # fmt: skip
def test_a_wrong_file_is_answered_in_words(visit, tmp_path, tab, box, file, told):
    from playwright.sync_api import TimeoutError as TooLong

    page = visit()
    path = FIXTURES / file
    if not path.exists():
        path = tmp_path / file
        path.write_bytes(b"this is no medium at all" * 20)
    page.get_by_role("tab", name=tab).click()
    page.locator(f"{box} input[type=file]").set_input_files(path)
    # The browser's own words, that a clip cannot be played, may stand there first.
    said = page.locator(".state.error, .toast-body").filter(has_text=told).first
    for _ in range(30):  # the file may still be on its way when the button is pressed
        page.click("#make")
        with suppress(TooLong):
            said.wait_for(timeout=10_000)
            break
    keep(page, f"wrong-{tab.lower()}")
    assert told in said.inner_text()


def test_a_drawing_and_a_picture_at_once_are_refused_in_words(visit):
    page = visit()
    draw(page, SEVEN)
    page.locator("#picture input[type=file]").set_input_files(FIXTURES / "three.png")
    page.wait_for_selector("#picture img")
    assert "clear one of them" in make(page, ends="error")
    page.click("#clear")
    page.wait_for_selector("#picture img", state="detached")
    choose(page, "text")
    make(page)
    assert "--image" not in line_of(page)


def test_two_at_once_get_their_own(visit):
    pages = [visit(), visit()]
    words = ["a red seven", "a blue two"]
    for page, said in zip(pages, words, strict=True):
        page.locator("#words textarea, #words input").fill(said)
        choose(page, "text", "image")
    for page in pages:
        page.click("#make")
    for page, said in zip(pages, words, strict=True):
        page.wait_for_selector(".state.done")
        assert f"'{said}'" in line_of(page)
    pictures = [fetched(page, "#made-image-0 img") for page in pages]
    assert pictures[0] != pictures[1]


def test_everything_can_be_taken_home_in_one_file(visit, tmp_path):
    page = visit()
    draw(page, SEVEN)
    choose(page, "text", "audio")
    make(page)
    with page.expect_download() as download:
        page.click("#everything")
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sorted(archive.namelist()) == [
            "0.txt", "0.wav", "command.txt", "given/drawing.png"]  # fmt: skip
        assert archive.read("command.txt").decode().strip() == line_of(page)


def test_who_presses_stop_is_not_worked_for(visit, app):
    page, service = visit(), service_of(app)
    begun, go = threading.Event(), threading.Event()
    work = (lambda _: begun.set() or go.wait(600),)
    threading.Thread(target=service.call, args=work).start()
    assert begun.wait(600)
    page.click("#make")
    page.get_by_text("waiting for its turn").wait_for()
    page.click("#stop")
    page.get_by_text("stopped").wait_for()
    [request] = service._requests
    go.set()
    # Its listener hears of the stop when a step begins: that step is done, and none after it.
    assert request.cancelled.wait(600)
    for _ in range(3000):
        if service.waiting:
            page.wait_for_timeout(200)
    assert service.waiting == 0
    assert len(request.todo) >= request.total - 1
    assert page.is_hidden("#cell-text-0")


def test_the_page_needs_nothing_from_elsewhere(browser, address):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("#make")
    page.wait_for_timeout(1000)
    local = (address, "data:", "blob:", address.replace("http", "ws"))
    assert [url for url in asked if not url.startswith(local)] == []
    page.close()
