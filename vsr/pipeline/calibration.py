"""int8 is fitted to the film at hand: pictures from all over it are looked at before the first one is upscaled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

from torch import Tensor

from vsr.errors import Interrupted, SourceError
from vsr.model.upscaler import Upscaler
from vsr.pipeline.compute import read_pictures
from vsr.pipeline.plan import FilmPlan
from vsr.video.reader import Picture, Reader, Window

__all__ = ["calibrate_on_film", "calibrate_on_picture", "sample_film"]

# So many pictures, evenly spread; every other one is kept for comparing.
NUM_SAMPLES = 6
# Of each at most a window of so many pixels a side: fp32 takes a second for 480x270 with a network of 64 features.
MAX_SIDE = 320
# Pictures between two samples of a film that cannot be entered in its midst.
DISTANCE = 8


def calibrate_on_film(plan: FilmPlan, upscaler: Upscaler, cancel: threading.Event | None = None) -> str | None:
    """Fit int8 to the film and say how it came out, in words; other precisions have nothing to fit.

    Args:
        cancel: set it from elsewhere to stop.

    Raises:
        Interrupted: `cancel` was set.
        ProcessingError: int8 would be too far from fp32.
    """
    if upscaler.precision != "int8":
        return None
    calibration = upscaler.calibrate(sample_film(plan, upscaler, cancel))
    return (
        f"int8 was fitted to {calibration.num_samples} pictures of the film;"
        f" {calibration.psnr_db:.1f} dB from fp32 on those kept for comparing,"
        f" about {calibration.speedup:.1f} times as fast as without it"
    )


def calibrate_on_picture(picture_BCHW: Tensor, upscaler: Upscaler) -> None:
    """Fit int8 to one picture, 1,3,H,W float32 RGB 0..1: to windows of it, and compare it on others.

    Raises:
        ProcessingError: int8 would be too far from fp32.
    """
    upscaler.calibrate([_cut_window(picture_BCHW, number) for number in range(NUM_SAMPLES)])


def sample_film(plan: FilmPlan, upscaler: Upscaler, cancel: threading.Event | None = None) -> list[Tensor]:
    """Windows of pictures spread over the part of the film to be done, 1,3,H,W float32 RGB, at least one."""
    samples: list[Tensor] = []
    for picture in _spread_pictures(plan):
        if cancel is not None and cancel.is_set():
            raise Interrupted
        samples.append(_cut_window(read_pictures([picture], upscaler=upscaler, plan=plan), len(samples)))
    return samples


def _spread_pictures(plan: FilmPlan) -> Iterator[Picture]:
    window, info = plan.output.window, plan.info
    start = window.start if window.start is not None else info.start
    ends = [end for end in (window.end, info.end) if end is not None]
    is_any = False
    if ends and Reader(info).can_be_entered:
        for number in range(NUM_SAMPLES):
            time = start + (min(ends) - start) * Fraction(2 * number + 1, 2 * NUM_SAMPLES)
            picture = _read_picture_at(plan, time)
            if picture is None:  # the film is shorter than it says; the run itself will tell
                break
            is_any = True
            yield picture
    if not is_any:
        # Without a known end, where every picture needs all before it, or where there is but one.
        pictures: Any = Reader(info, window).pictures()
        yield from islice(pictures, 0, NUM_SAMPLES * DISTANCE, DISTANCE)
        pictures.close()


def _read_picture_at(plan: FilmPlan, time: Fraction) -> Picture | None:
    """The first picture from `time` on; None where there is no more."""
    pictures: Any = Reader(plan.info, Window(time, None)).pictures()
    try:
        picture: Picture = next(pictures)
        return picture
    except SourceError:
        return None
    finally:
        pictures.close()


def _cut_window(frames_BCHW: Tensor, number: int) -> Tensor:
    """A window of the picture: those in a row lie at different places."""
    height, width = frames_BCHW.shape[-2:]
    rows, columns = min(height, MAX_SIDE), min(width, MAX_SIDE)
    top = (height - rows) * (number % 3) // 2
    left = (width - columns) * (number * 2 % 3) // 2
    return frames_BCHW[..., top : top + rows, left : left + columns].contiguous()
