"""int8 is fitted to the film at hand: pictures from all over it are looked at before the first one is upscaled."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from torch import Tensor

from vsr.errors import SourceError
from vsr.model.upscaler import Upscaler
from vsr.pipeline.compute import read_pictures
from vsr.pipeline.plan import FilmPlan
from vsr.video.reader import Picture, Reader, Window

__all__ = ["calibrate_on_film", "sample_film"]

# So many pictures, evenly spread; every other one is kept for comparing.
NUM_SAMPLES = 6
# Of each at most a window of so many pixels a side: fp32 takes a second for 480x270 with a network of 64 features.
MAX_SIDE = 320


def calibrate_on_film(plan: FilmPlan, upscaler: Upscaler) -> str | None:
    """Fit int8 to the film and say how it came out, in words; other precisions have nothing to fit.

    Raises:
        ProcessingError: int8 would be too far from fp32.
    """
    if upscaler.precision != "int8":
        return None
    calibration = upscaler.calibrate(sample_film(plan, upscaler))
    return (
        f"int8 was fitted to {calibration.num_samples} pictures of the film;"
        f" {calibration.psnr_db:.1f} dB from fp32 on those kept for comparing"
    )


def sample_film(plan: FilmPlan, upscaler: Upscaler) -> list[Tensor]:
    """Windows of pictures spread over the part of the film to be done, 1,3,H,W float32 RGB, at least one."""
    window, info = plan.output.window, plan.info
    start = window.start if window.start is not None else info.start
    end = window.end if window.end is not None else info.end
    samples: list[Tensor] = []
    for number in range(NUM_SAMPLES):
        # Of what has no known end the beginning must do.
        time = None if end is None else start + (end - start) * Fraction(2 * number + 1, 2 * NUM_SAMPLES)
        picture = _read_picture_at(plan, time)
        if picture is not None:
            samples.append(_cut_window(read_pictures([picture], upscaler=upscaler, plan=plan), number))
        if time is None:
            break
    if not samples:
        picture = _read_picture_at(plan, None)
        assert picture is not None
        samples.append(_cut_window(read_pictures([picture], upscaler=upscaler, plan=plan), 0))
    return samples


def _read_picture_at(plan: FilmPlan, time: Fraction | None) -> Picture | None:
    """The first picture from `time` on (None: of the part to be done); None where there is no more."""
    window = plan.output.window if time is None else Window(time, None)
    pictures: Any = Reader(plan.info, window).pictures()
    try:
        picture: Picture = next(pictures)
        return picture
    except SourceError:
        if time is None:
            raise
        return None  # a film may be shorter than it says; the run itself will tell
    finally:
        pictures.close()


def _cut_window(frames_BCHW: Tensor, number: int) -> Tensor:
    """A window of the picture: those in a row lie at different places."""
    height, width = frames_BCHW.shape[-2:]
    rows, columns = min(height, MAX_SIDE), min(width, MAX_SIDE)
    top = (height - rows) * (number % 3) // 2
    left = (width - columns) * (number * 2 % 3) // 2
    return frames_BCHW[..., top : top + rows, left : left + columns].contiguous()
