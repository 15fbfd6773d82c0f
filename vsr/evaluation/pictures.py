"""A folder of pictures: each made small, enlarged by every method, and compared with itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vsr.errors import DataError, SourceError
from vsr.evaluation.conditions import Conditions
from vsr.evaluation.inputs import degrade_picture, fit_pair, make_pair
from vsr.evaluation.methods import Method
from vsr.evaluation.outputs import OutputFolder
from vsr.evaluation.scores import DataResult, MethodResult, Skipped, compare
from vsr.evaluation.sources import Pixels, from_tensor, list_pictures, read_picture, to_tensor
from vsr.progress import Progress, SilentProgress

__all__ = ["evaluate_pictures"]


def evaluate_pictures(
    data: Path,
    methods: Sequence[Method],
    conditions: Conditions,
    *,
    name: str | None = None,
    low: Path | None = None,
    outputs: OutputFolder | None = None,
    progress: Progress | None = None,
) -> DataResult:
    """Every picture of `data`, one at a time: low-resolution twin, each method's output in 8 bits, figures.

    A picture that cannot be read, is too small, or has no partner in `low` is left out and named in the result.

    Args:
        data: a folder of high-resolution pictures, or one picture.
        name: of the data, for the result; None: the last part of its path.
        low: folder of given low-resolution pictures, instead of made ones. Partners have one name, but for the
            suffix, an "x4" at the end or an "LR" in place of "HR". For a single picture, a picture of any name.
        outputs: where to keep what comes out.

    Raises:
        SourceError, DataError: there is no such folder, or not one usable picture in it.
        OutputError: an output cannot be kept.
        ProcessingError: a network failed.
    """
    progress = progress or SilentProgress()
    paths = list_pictures(data)
    partners = None if low is None else _list_partners(data, low)
    num_namesakes = Counter(path.stem for path in paths)
    result = DataResult(name or data.stem, str(data), "pictures", [MethodResult(method.name) for method in methods])
    progress.start(result.name, len(paths), "pictures")
    try:
        for path in paths:
            try:
                low_HWC, high_HWC = _read_pair(path, partners, low, conditions)
            except (SourceError, DataError) as exc:
                result.skipped.append(Skipped(str(path), exc.message.removeprefix(f"{path}: ")))
                progress.advance(1)
                continue
            low_HWC = degrade_picture(low_HWC, path.name, conditions)
            label = path.stem if num_namesakes[path.stem] == 1 else path.name
            for method, figures in zip(methods, result.methods, strict=True):
                output_HWC = from_tensor(method(to_tensor(low_HWC)))
                figures.pictures.append((label, compare(output_HWC, high_HWC, conditions.cut)))
                if outputs is not None:
                    outputs.save(result.name, method.name, label, output_HWC)
            progress.advance(1)
    finally:
        progress.finish()
    if not result.count:
        first = result.skipped[0]
        raise DataError(
            f"{str(data)!r} holds no picture that can be used ({len(paths)} tried)",
            hint=f"{first.path}: {first.reason}",
        )
    return result


def _list_partners(data: Path, low: Path) -> dict[str, Path]:
    """Low-resolution pictures by their whole names and by their stems."""
    pictures = list_pictures(low)
    if not (os.path.isdir(data) or os.path.isdir(low)):
        return {data.name: low}
    return {path.stem: path for path in pictures} | {path.name: path for path in pictures}


def _read_pair(
    path: Path, partners: dict[str, Path] | None, low: Path | None, conditions: Conditions
) -> tuple[Pixels, Pixels]:
    if partners is None:
        return make_pair(read_picture(path), conditions)
    stem = path.stem
    candidates = (
        path.name,
        stem,
        f"{stem}x{conditions.scale}",
        f"{stem}_x{conditions.scale}",
        stem.replace("HR", "LR"),
    )
    partner = next((partners[candidate] for candidate in candidates if candidate in partners), None)
    if partner is None:
        raise DataError(f"no picture of that name lies in {str(low)!r}")
    return fit_pair(read_picture(partner), read_picture(path), conditions)
