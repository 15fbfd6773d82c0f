"""Makes page.png, the picture of the page in the README: the page itself, in Chromium, with a daemon that is played.

    vsr upscale samples/clip.mp4 --scale 4
    python samples/make_page_picture.py

The frames are of samples/clip.mp4; names and figures are invented.
"""

from __future__ import annotations

import io
import math
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import av
from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from boards import BoardInMemory, jpeg  # noqa: E402
from browsers import find_chromium  # noqa: E402
from vsr.page import live  # noqa: E402
from vsr.page.address import Address  # noqa: E402
from vsr.page.page import Page  # noqa: E402

FRAME = 30
WIDTH, HEIGHT = 1240, 900
NUM_COLORS = 256  # keeps the file small


def read_frame(path: Path, number: int) -> Image.Image:
    with av.open(str(path)) as container:
        return next(islice(container.decode(video=0), number, None)).to_image()


def play(board: BoardInMemory) -> None:
    """A busy day: one film at work, some that wait, some that are done, one that failed."""
    board.now = time.time()
    film = board.add("The Harbour at Dusk (1954).mkv")
    board.begin(film, 132_480, device="cuda:0")
    board.show(film, 1912.4, jpeg(read_frame(HERE / "clip.mp4", FRAME)), jpeg(read_frame(HERE / "clip_x4.mp4", FRAME)))
    for name in ("reel 05/wedding 1962.mpg", "reel 05/workshop in winter.mpg", "interview.mov"):
        board.add(name)
    board.add("tape 12.avi", "paused")
    for name, size, minutes, ago in (("sailing.mkv", (480, 270), 22, 66), ("kitchen.mp4", (720, 576), 61, 170)):
        sizes = {"size_in": size, "size_out": [4 * side for side in size]}
        report = {**sizes, "seconds": 60.0 * minutes, "fps": 33.2}
        board.add(f"reel 03/{name}", "done", ended=board.now - 60 * ago, report=report)
    failure = {"error": "'scan 7.avi' is damaged: 212 pictures cannot be decoded", "hint": "--allow-corrupt goes on"}
    board.add("scan 7.avi", "failed", attempts=1, ended=board.now - 600, **failure)
    for second in range(3 * live.NUM_RATES):  # a busy machine takes fewer points
        fps = 41.3 + 3 * math.sin(second / 6) + 1.5 * math.sin(2.1 * second)
        board.advance(film, done=52_000 + 41 * second, fps=fps, eta_seconds=1860.0)
        time.sleep(live.RATES_SECONDS)


def main() -> None:
    live.RATES_SECONDS = live.READ_SECONDS = live.UNSEEN_SECONDS = 0.05  # two minutes' curve in seconds
    with tempfile.TemporaryDirectory() as inbox, sync_playwright() as playwright:
        board = BoardInMemory(Path(inbox), disk_free=412_300_000_000, disk_floor=20_000_000_000)
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        with Page(Address("127.0.0.1", 0)).serve(board) as url:
            play(board)
            tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            tab.goto(url)
            tab.wait_for_selector(".split:visible")
            picture = Image.open(io.BytesIO(tab.screenshot(animations="disabled")))
        browser.close()
    few = picture.convert("RGB").quantize(NUM_COLORS, Image.Quantize.MAXCOVERAGE, kmeans=2)
    few.save(HERE / "page.png", optimize=True)


if __name__ == "__main__":
    main()
