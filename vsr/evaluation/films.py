"""A film: its frames in order, made small, enlarged by every method, compared one by one and from frame to frame."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vsr.errors import DataError
from vsr.evaluation.conditions import Conditions
from vsr.evaluation.inputs import degrade_film, fit_pair, make_pair
from vsr.evaluation.methods import Method
from vsr.evaluation.outputs import OutputFolder
from vsr.evaluation.scores import DataResult, MethodResult, compare
from vsr.evaluation.sources import Pixels, from_tensor, list_pictures, read_film, read_picture, to_tensor
from vsr.metrics import TemporalDifference
from vsr.progress import Progress, SilentProgress

__all__ = ["evaluate_film"]

# Frames that are compressed together, where the input is: so many are held in memory at once, whatever the film.
FRAMES_PER_CLIP = 24


def evaluate_film(
    data: Path,
    methods: Sequence[Method],
    conditions: Conditions,
    *,
    name: str | None = None,
    low: Path | None = None,
    num_frames: int | None = None,
    outputs: OutputFolder | None = None,
    progress: Progress | None = None,
) -> DataResult:
    """Every frame of `data` as `evaluate_pictures` does a picture, and how differently output and film move.

    Streaming: a frame at a time, or 24 where the input is compressed (they are one clip to the encoder).

    Args:
        data: a film file, or a folder whose pictures, in natural order, are the frames.
        name: of the data, for the result; None: the last part of its path.
        low: a given low-resolution film or folder of frames, instead of a made one.
        num_frames: only that many from the beginning; None: all.
        outputs: where to keep what comes out, frame by frame.

    Raises:
        SourceError: film or frame cannot be read.
        DataError: the frame size changes, or is too small; the two films differ in size or length.
        OutputError: an output cannot be kept.
        ProcessingError: a network failed.
    """
    progress = progress or SilentProgress()
    result = DataResult(name or data.stem, str(data), "film", [MethodResult(method.name) for method in methods])
    flicker = [TemporalDifference(conditions.cut) for _ in methods]
    progress.start(result.name, num_frames, "frames")
    try:
        pairs = _read_pairs(data, low, conditions, result.warnings, num_frames)
        for number, (low_HWC, high_HWC) in enumerate(_degrade(pairs, conditions)):
            reference = to_tensor(high_HWC)
            for method, figures, difference in zip(methods, result.methods, flicker, strict=True):
                output_HWC = from_tensor(method(to_tensor(low_HWC)))
                label = f"{number:08d}"
                figures.pictures.append((label, compare(output_HWC, high_HWC, conditions.cut)))
                difference.add(to_tensor(output_HWC), reference)
                if outputs is not None:
                    outputs.save(result.name, method.name, label, output_HWC)
            progress.advance(1)
    finally:
        progress.finish()
    for figures, difference in zip(result.methods, flicker, strict=True):
        figures.temporal_difference = difference.mean
    return result


def _read_pairs(
    data: Path, low: Path | None, conditions: Conditions, warnings: list[str], num_frames: int | None
) -> Iterator[tuple[Pixels, Pixels]]:
    """(low, high), clean, for every frame."""
    highs = itertools.islice(_read_frames(data, warnings), num_frames)
    lows: Iterator[Pixels | None] = itertools.repeat(None)
    if low is not None:
        lows = itertools.chain(itertools.islice(_read_frames(low, warnings), num_frames), itertools.repeat(None))
    size: tuple[int, ...] | None = None
    number = -1
    for number, (high_HWC, low_HWC) in enumerate(zip(highs, lows, strict=False)):
        if low is not None and low_HWC is None:
            raise DataError(f"{str(low)!r} has only {number} frames, {str(data)!r} has more")
        size = size or high_HWC.shape
        if high_HWC.shape != size:
            raise DataError(
                f"{str(data)!r}: frame {number} is {high_HWC.shape[1]}x{high_HWC.shape[0]}, those before are"
                f" {size[1]}x{size[0]}",
                hint="without --sequence, the pictures of a folder may differ in size" if os.path.isdir(data) else None,
            )
        try:
            pair = make_pair(high_HWC, conditions) if low_HWC is None else fit_pair(low_HWC, high_HWC, conditions)
        except DataError as exc:
            raise DataError(f"{str(data)!r}: frame {number}: {exc.message}", hint=exc.hint) from exc
        yield pair
    if num_frames is None and next(lows, None) is not None:
        raise DataError(f"{str(low)!r} has more frames than {str(data)!r}, which has {number + 1}")


def _degrade(pairs: Iterator[tuple[Pixels, Pixels]], conditions: Conditions) -> Iterator[tuple[Pixels, Pixels]]:
    if not conditions.is_degraded:
        yield from pairs
        return
    clip_length = 1 if conditions.crf is None else FRAMES_PER_CLIP
    first = 0
    while clip := list(itertools.islice(pairs, clip_length)):
        lows = degrade_film([low for low, _ in clip], first, conditions)
        yield from zip(lows, (high for _, high in clip), strict=True)
        first += len(clip)


def _read_frames(data: Path, warnings: list[str]) -> Iterator[Pixels]:
    if os.path.isdir(data):
        yield from map(read_picture, list_pictures(data))
    else:
        yield from read_film(data, warnings)
