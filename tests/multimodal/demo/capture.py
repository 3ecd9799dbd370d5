"""Take the README's pictures of the page: python -m tests.multimodal.demo.capture.

A seven is drawn with the mouse, "left" is typed, and the seven goes. Needs a run and Chromium.
"""

import io
from pathlib import Path

from PIL import Image

from core.cli import command
from multimodal.demo.app import build_app
from tests.multimodal.demo.browser import chromium, draw, served

SIZE = {"width": 1340, "height": 1130}
SEVEN = [(0.36, 0.3), (0.64, 0.3), (0.56, 0.45), (0.48, 0.6), (0.44, 0.7)]


def capture(run: Path = Path("runs/quickstart"), out: Path = Path("docs")) -> None:
    """Write demo.png and demo.webp.

    Args:
        run: Folder of the models.
        out: Folder to write to.
    """
    frames: list[Image.Image] = []
    with chromium() as browser, build_app(run) as app, served(app) as address:
        page = browser.new_page(viewport=SIZE)

        def shoot(times: int = 1) -> None:
            for _ in range(times):
                frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))

        page.goto(address)
        page.wait_for_selector('#drawing button[aria-label="Brush"].highlight')
        page.wait_for_timeout(500)
        shoot(2)
        draw(page, SEVEN, shoot)
        shoot()
        page.locator("#words textarea, #words input").type("left")
        page.locator("#to").get_by_label("video").check()
        page.locator("#first").get_by_role("checkbox").check()
        shoot(3)
        page.click("#make")
        while page.query_selector(".state.done") is None:
            shoot()
        page.wait_for_function("document.querySelector('#made-video-0 video')?.currentTime > 0")
        shoot(12)
        page.screenshot(path=out / "demo.png", full_page=True)
    small = [frame.resize((frame.width * 5 // 8, frame.height * 5 // 8)) for frame in frames]
    small[0].save(out / "demo.webp", save_all=True, append_images=small[1:], duration=180,
                  loop=0, quality=60, method=6)  # fmt: skip
    print(f"{out / 'demo.png'}, {out / 'demo.webp'}: {len(frames)} frames")


if __name__ == "__main__":
    command(capture)
