"""Makes the pictures of the README from samples/clip.mp4.

    vsr upscale samples/clip.mp4 --scale 4
    python samples/make_picture.py

before_after.png: a part of one frame as a player enlarges it (bicubic), and of vsr's output with the default preset.
film_before_after.png: the same part after the clip was made soft and noisy and coded twice with H.264, as films on the
web have been: enlarged by bicubic, by the network `fast`, by the network `film`.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageFilter

import vsr
from vsr.video.recompression import recompress

HERE = Path(__file__).resolve().parent
FRAME, BOX = 30, (110, 90, 670, 520)
FILM_BOX = (110, 110, 520, 520)
GAP = 4
NOISE, BLUR, FIRST_CRF, SECOND_CRF = 3.0, 0.6, 27, 31


def read_frames(path: Path, first: int, count: int) -> list[Image.Image]:
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in islice(container.decode(video=0), first, first + count)]


def wear(frames: list[Image.Image]) -> list[Image.Image]:
    """What is left of a film after a soft lens, noise and two uploads."""
    rng = np.random.default_rng(1)
    worn = []
    for frame in frames:
        soft = np.asarray(frame.filter(ImageFilter.GaussianBlur(BLUR)), np.float32)
        noisy = soft + rng.normal(0, NOISE, soft.shape[:2])[:, :, None]
        worn.append(noisy.round().clip(0, 255).astype(np.uint8))
    for crf in (FIRST_CRF, SECOND_CRF):
        worn = recompress(worn, "h264", crf)
    return [Image.fromarray(frame) for frame in worn]


def enlarge(frame: Image.Image, model: str) -> Image.Image:
    upscaler = vsr.Upscaler(vsr.load_model(model), scale=4)
    frames_BCHW = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None] / 255
    pixels = (upscaler(frames_BCHW)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(pixels)


def put_side_by_side(pictures: list[Image.Image], box: tuple[int, int, int, int]) -> Image.Image:
    width, height = box[2] - box[0], box[3] - box[1]
    row = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), "white")
    for number, picture in enumerate(pictures):
        row.paste(picture.crop(box), (number * (width + GAP), 0))
    return row


def main() -> None:
    before = read_frames(HERE / "clip.mp4", FRAME, 1)[0]
    after = read_frames(HERE / "clip_x4.mp4", FRAME, 1)[0]
    player = before.resize(after.size, Image.Resampling.BICUBIC)
    put_side_by_side([player, after], BOX).save(HERE / "before_after.png", optimize=True)

    worn = wear(read_frames(HERE / "clip.mp4", FRAME - 8, 10))[8]
    player = worn.resize(after.size, Image.Resampling.BICUBIC)
    pictures = [player, enlarge(worn, "fast"), enlarge(worn, "film")]
    put_side_by_side(pictures, FILM_BOX).save(HERE / "film_before_after.png", optimize=True)


if __name__ == "__main__":
    main()
