"""Makes before_after.png of the README: the same part of one frame, enlarged by a player and by vsr.

    vsr upscale samples/clip.mp4 --scale 4
    python samples/make_picture.py

Left: the frame as a player shows it at that size (bicubic). Right: vsr's output, default preset.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av
from PIL import Image

HERE = Path(__file__).resolve().parent
FRAME, BOX = 30, (110, 90, 670, 520)


def read_frame(path: Path, index: int) -> Image.Image:
    with av.open(str(path)) as container:
        return next(islice(container.decode(video=0), index, None)).to_image()


def main() -> None:
    after = read_frame(HERE / "clip_x4.mp4", FRAME)
    before = read_frame(HERE / "clip.mp4", FRAME).resize(after.size, Image.Resampling.BICUBIC)
    width, height = BOX[2] - BOX[0], BOX[3] - BOX[1]
    picture = Image.new("RGB", (2 * width + 4, height), "white")
    picture.paste(before.crop(BOX), (0, 0))
    picture.paste(after.crop(BOX), (width + 4, 0))
    picture.save(HERE / "before_after.png", optimize=True)


if __name__ == "__main__":
    main()
