"""What reuse brings where something repeats, and costs where nothing does; a script, not collected by pytest.

    python tests/bench/reuse.py [--model fast] [--frames 150] [--runs 3] [FILM ...]

Each film is upscaled with and without reuse, runs alternating, after one short run to warm up: decoded, computed,
encoded with libx264 as it comes, read back and verified. Frames per second are `vsr.upscale`'s own, medians with the
range; processor time is that of all threads, the encoder's among them, and less disturbed by what else the machine
does. Without FILMs, four of 480x270 and 25 frames/s are drawn and coded with libx264 at CRF 18: a screen recording
(a page of text, a line being typed, a pointer that moves half of the time, scrolling for a quarter of a second in
three), slides (a new one every three seconds), drawn animation on twos (a figure that moves before a still
background), and noise. What comparing by itself takes is told too, for the worst film there is: noise.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

WIDTH, HEIGHT, RATE = 480, 270, 25
Image = npt.NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("films", nargs="*", type=Path, help="default: four drawn ones")
    parser.add_argument("--model", default="fast", help="(default %(default)s)")
    parser.add_argument("--frames", type=int, default=150, help="of the drawn films (default %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each film, each way (default %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for film in args.films or [draw_film(Path(folder, f"{name}.mp4"), args.frames) for name in FILMS]:
            print(measure(film, Path(folder, "out.mkv"), args.model, args.runs), flush=True)
    print(f"comparing two frames of noise, {WIDTH}x{HEIGHT}: {1e3 * time_comparison():.3f} ms")


def measure(film: Path, output: Path, model: str, runs: int) -> str:
    import vsr

    rates: dict[bool, list[float]] = {True: [], False: []}
    costs: dict[bool, list[float]] = {True: [], False: []}
    facts = ""
    vsr.upscale(film, output, model=model, duration=0.2, overwrite=True)
    for _ in range(runs):
        for reuse in rates:
            start = time.process_time()
            report = vsr.upscale(film, output, model=model, reuse=reuse, overwrite=True)
            costs[reuse].append(1e3 * (time.process_time() - start) / report.frames_out)
            rates[reuse].append(report.fps)
            if reuse:
                facts = (
                    f"{report.frames_reused} of {report.frames_out} frames reused, {report.area_computed:.1%} computed"
                )
    lines = [f"{film.stem}: {facts}"]
    for unit, values, faster in (("frames/s", rates, 1), ("ms of processor time per frame", costs, -1)):
        with_reuse, without = values[True], values[False]
        ratio = (statistics.median(with_reuse) / statistics.median(without)) ** faster
        lines.append(f"  {show(with_reuse)} with reuse, {show(without)} {unit} without: x{ratio:.2f}")
    return "\n".join(lines)


def show(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def time_comparison() -> float:
    """Median seconds that `FrameComparison` takes for a frame of noise after another."""
    from vsr.video.changes import FrameComparison
    from vsr.video.planes import view_samples

    random = np.random.default_rng(0)
    frames = [av.VideoFrame(WIDTH, HEIGHT, "yuv420p") for _ in range(2)]
    for frame in frames:
        for component in view_samples(frame).components:
            component[...] = random.integers(0, 256, component.shape)
    comparison, seconds = FrameComparison(), []
    for number in range(500):
        start = time.perf_counter()
        comparison.find_changes(frames[number % 2])
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


# --- the films ---


def draw_film(path: Path, num_frames: int) -> Path:
    draw = FILMS[path.stem]()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        stream.options = {"crf": "18", "preset": "veryfast"}
        for number in range(num_frames):
            image = np.ascontiguousarray(draw(number))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def draw_page(height: int) -> Image:
    """Lines of dark strokes on white, as long as words."""
    random = np.random.default_rng(0)
    page = np.full((height, WIDTH, 3), 245, np.uint8)
    for line in range(10, height - 12, 14):
        column = 12
        while column < WIDTH - 30:
            length = int(random.integers(8, 40))
            for stroke in range(column, min(column + length, WIDTH - 20), 5):
                page[line : line + 8, stroke : stroke + 2] = random.integers(20, 90)
                page[line + int(random.integers(0, 6)), stroke : stroke + 4] = 40
            column += length + 6
    return page


def draw_screen() -> Callable[[int], Image]:
    page = draw_page(40 * HEIGHT)

    def draw(number: int) -> Image:
        top = 8 * (6 * (number // 75) + max(0, number % 75 - 68))
        image = page[top : top + HEIGHT].copy()
        typed = number // 4 % 60
        image[130:144, 60:420] = 245
        image[132:140, 60 : 60 + 6 * typed : 6] = 30
        if number // 12 % 2:
            image[130:142, 62 + 6 * typed : 64 + 6 * typed] = 0
        moment = min(number % 50, 25)
        row, column = int(90 + 50 * np.cos(moment / 8)), int(200 + 120 * np.sin(moment / 10))
        image[row : row + 14, column : column + 9] = 20
        return image

    return draw


def draw_slides() -> Callable[[int], Image]:
    page = draw_page(40 * HEIGHT)

    def draw(number: int) -> Image:
        slide = number // 75
        image = page[HEIGHT * slide :][:HEIGHT].copy()
        image[:40] = np.random.default_rng(slide).integers(0, 256, 3)
        return image

    return draw


def draw_animation() -> Callable[[int], Image]:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    sky = np.stack([60 + rows // 4, 120 + rows // 5, 220 - rows // 6], -1).astype(np.uint8)
    sky[rows > 200 + 10 * np.sin(columns / 30)] = (70, 140, 60)

    def draw(number: int) -> Image:
        image = sky.copy()
        centre = 60 + 3 * (number // 2) % 360, 170 - int(20 * abs(np.sin(number // 2 / 3)))
        image[(columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 < 34**2] = (200, 60, 40)
        image[(columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 < 28**2] = (240, 200, 90)
        return image

    return draw


def draw_noise() -> Callable[[int], Image]:
    return lambda number: np.random.default_rng(number).integers(96, 160, (HEIGHT, WIDTH, 3), np.uint8)


FILMS: dict[str, Callable[[], Callable[[int], Image]]] = {
    "screen": draw_screen,
    "slides": draw_slides,
    "animation": draw_animation,
    "noise": draw_noise,
}

if __name__ == "__main__":
    main()
