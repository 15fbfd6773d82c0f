"""Draw samples/clip.mp4: three seconds of a small sharp film with sound, made of nothing but this script.

    python samples/make_samples.py [OUTPUT]

Every picture is drawn at 1280x720 and brought down to 320x180 with Pillow's LANCZOS, so that edges are as soft as a
lens makes them and thin lines fall between pixels: what a super-resolution network has to bring back.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 320, 180
OVERSAMPLING = 4
RATE = 24
NUM_FRAMES = 72
SAMPLE_RATE = 48000
BT709 = 1
GRAIN = 1.2  # standard deviation of the film grain in steps of 8 bits

Picture = ImageDraw.ImageDraw


def sky() -> Image.Image:
    """Evening sky: a vertical ramp of two colours, with the glow of the sun."""
    width, height = WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    down = (rows / height)[..., None]
    ramp = np.array([70, 110, 175]) * (1 - down) + np.array([246, 190, 140]) * down
    distance = np.hypot(columns - 0.72 * width, rows - 0.38 * height)[..., None]
    glow = np.exp(-((distance / (0.22 * width)) ** 2)) * np.array([70, 50, 10])
    return Image.fromarray(np.clip(ramp + glow, 0, 255).astype(np.uint8))


def draw_sun(draw: Picture) -> None:
    x, y, radius = 922, 274, 46
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(255, 240, 205))


def draw_hills(draw: Picture, seconds: float) -> None:
    """Two ridges; the near one moves faster than the far one."""
    width, height = WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING
    ridges = ((0.58, 26, 30, (92, 108, 132)), (0.68, 40, 70, (58, 82, 78)))
    for level, swing, speed, color in ridges:
        outline = [
            (x, level * height + swing * math.sin(shifted / 130) + 9 * math.sin(shifted / 37))
            for x in range(0, width + 8, 8)
            for shifted in (x + speed * seconds,)
        ]
        draw.polygon([(0, height), *outline, (width, height)], fill=color)


def draw_ground(draw: Picture) -> None:
    width, height = WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING
    draw.rectangle([0, 0.8 * height, width, height], fill=(74, 70, 58))
    for number, x in enumerate(range(-40, width + 40, 22)):  # grass, each blade another lean
        lean = 9 * math.sin(number * 2.4)
        draw.line([x, 0.83 * height, x + lean, 0.79 * height - 6 * (number % 3)], fill=(104, 112, 66), width=3)


def draw_fence(draw: Picture, seconds: float) -> None:
    """Thin pales and wires that pass by: one to two pixels wide once brought down."""
    width, height = WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING
    offset = (seconds * 96) % 64
    for x in np.arange(-64 + offset, width + 64, 64):
        draw.line([x, 0.86 * height, x, 0.985 * height], fill=(222, 214, 196), width=7)
    for level in (0.885, 0.92, 0.955):
        draw.line([0, level * height, width, level * height], fill=(190, 180, 160), width=3)


def draw_mill(draw: Picture, seconds: float) -> None:
    """A tower with four lattice sails that turn."""
    x, y, length = 330, 330, 205
    draw.polygon([(x - 62, 590), (x - 34, y - 20), (x + 34, y - 20), (x + 62, 590)], fill=(150, 92, 74))
    for row in range(13):  # bricks
        top = y + row * 20
        half = 33 + 28 * (top - y + 20) / 280
        draw.line([x - half, top, x + half, top], fill=(128, 76, 62), width=2)
    draw.polygon([(x - 42, y - 18), (x, y - 66), (x + 42, y - 18)], fill=(66, 52, 58))
    for sail in range(4):
        angle = 0.9 * seconds + sail * math.pi / 2
        along = np.array([math.cos(angle), math.sin(angle)])
        across = np.array([-along[1], along[0]])
        hub = np.array([x, y - 20.0])
        draw.line([*hub, *(hub + along * length)], fill=(244, 238, 222), width=7)
        for step in range(4, 14):
            foot = hub + along * length * step / 13
            draw.line([*foot, *(foot + across * 36)], fill=(244, 238, 222), width=3)
        draw.line(
            [*(hub + along * length * 4 / 13 + across * 36), *(hub + along * length + across * 36)],
            fill=(244, 238, 222),
            width=3,
        )


def draw_balloon(draw: Picture, seconds: float) -> None:
    """A striped balloon that drifts and rises, with ropes and a basket."""
    x, y, radius = 700 + 52 * seconds, 250 - 24 * seconds, 92
    stripes = ((214, 68, 58), (246, 236, 214), (44, 92, 150), (246, 236, 214), (214, 68, 58))
    for number, color in enumerate(stripes):
        reach = radius * (1 - number / len(stripes))
        draw.ellipse([x - reach, y - radius, x + reach, y + radius], fill=color)
    for side in (-26, -9, 9, 26):
        draw.line([x + side * 2.2, y + radius * 0.8, x + side * 0.8, y + radius + 52], fill=(60, 48, 40), width=3)
    draw.rectangle([x - 24, y + radius + 50, x + 24, y + radius + 84], fill=(140, 96, 52))


def draw_lettering(draw: Picture, seconds: float) -> None:
    """A title that stands, and a small line that scrolls."""
    large, small = ImageFont.load_default(84), ImageFont.load_default(40)
    draw.text((800, 466), "vsr", font=large, fill=(255, 250, 240), stroke_width=3, stroke_fill=(40, 40, 48))
    draw.text((946, 500), "320 x 180", font=small, fill=(255, 250, 240), stroke_width=2, stroke_fill=(40, 40, 48))
    line = "every pixel of this film was drawn by a script  ·  0123456789  ·  "
    color = (250, 248, 240)
    draw.text((60 - 120 * seconds, 24), line * 2, font=small, fill=color, stroke_width=2, stroke_fill=(48, 64, 96))


def draw_frame(index: int, background: Image.Image, grain: np.random.Generator) -> np.ndarray:
    """Frame `index`; uint8 H,W,3, RGB."""
    seconds = index / RATE
    image = background.copy()
    draw = ImageDraw.Draw(image)
    draw_sun(draw)
    draw_hills(draw, seconds)
    draw_ground(draw)
    draw_mill(draw, seconds)
    draw_balloon(draw, seconds)
    draw_lettering(draw, seconds)
    draw_fence(draw, seconds)
    small = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), dtype=np.float32)
    noise = grain.normal(0, GRAIN, (HEIGHT, WIDTH, 1))
    return np.clip(np.rint(small + noise), 0, 255).astype(np.uint8)


def tone() -> np.ndarray:
    """Three seconds of sound, int16 1,2*N interleaved: a slow chord that wanders from left to right."""
    time = np.arange(SAMPLE_RATE * NUM_FRAMES // RATE) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * pitch * time) / (number + 1) for number, pitch in enumerate((220.0, 277.18, 329.63)))
    envelope = np.minimum(1, np.minimum(time / 0.1, (time[-1] - time) / 0.4))
    place = time / time[-1]
    sides = np.stack([np.cos(place * np.pi / 2), np.sin(place * np.pi / 2)], axis=1)
    stereo = (chord * envelope)[:, None] * sides
    return (stereo / np.abs(stereo).max() * 9000).astype(np.int16).reshape(1, -1)


def write_clip(path: Path) -> None:
    """Write the clip as H.264 (CRF 19, BT.709, with B-frames) and AAC at 96 kbit/s."""
    background = sky()
    grain = np.random.default_rng(7)
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        container.metadata["title"] = "vsr sample"
        video = container.add_stream("libx264", rate=RATE, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        video.thread_count = 1  # the same bytes on every machine
        video.options = {"crf": "19", "preset": "slow"}
        context = video.codec_context
        context.time_base = Fraction(1, RATE)
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", bit_rate=96000)
        for index in range(NUM_FRAMES):
            drawn = av.VideoFrame.from_ndarray(draw_frame(index, background, grain), format="rgb24")
            frame = drawn.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            frame.color_primaries = frame.color_trc = BT709
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = tone()
        block = 1024
        for first in range(0, samples.shape[1] // 2, block):
            chunk = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, 2 * first : 2 * (first + block)]), format="s16", layout="stereo"
            )
            chunk.sample_rate, chunk.pts, chunk.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(chunk))
        container.mux(audio.encode(None))


if __name__ == "__main__":
    write_clip(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("clip.mp4"))
