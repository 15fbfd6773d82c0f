"""The figures as text, for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vsr.evaluation.scores import DataResult, PictureScores
from vsr.model.speed import Speed

__all__ = ["format_scores", "format_speeds"]


def format_scores(results: Sequence[DataResult], *, verbose: bool = False) -> str:
    """One line for each set of data and model, the means over its pictures; with `verbose` one for each picture too.

    PSNR in dB. The flicker of films is in 8-bit levels of luma: see `vsr.metrics.TemporalDifference`.
    """
    has_film = any(result.kind == "film" for result in results)
    rows = [["data", "model", "PSNR Y", "SSIM Y", "PSNR RGB", "SSIM RGB", *(["flicker"] if has_film else [])]]
    for result in results:
        unit = "frame" if result.kind == "film" else "picture"
        label = f"{result.name} ({result.count} {unit}{'' if result.count == 1 else 's'})"
        for method in result.methods:
            flicker = [_number(method.temporal_difference, 3)] if has_film else []
            rows.append([label, method.model, *_figures(method.mean), *flicker])
        if verbose:
            for method in result.methods:
                rows += [[f"  {name}", method.model, *_figures(scores)] for name, scores in method.pictures]
    return _align(rows)


def format_speeds(speeds: Sequence[Speed]) -> str:
    """One line for each network, and how it was measured."""
    rows = [["model", "ms per frame", "fastest", "slowest", "precision", "device"]]
    for speed in speeds:
        times = [_number(value, 1) for value in (speed.milliseconds, speed.fastest, speed.slowest)]
        device = speed.device if speed.threads is None else f"{speed.device}, {speed.threads} threads"
        rows.append([speed.model, *times, speed.precision, device])
    first = speeds[0]
    how = f"median of {first.num_runs} calls of the upscaler after a warm-up, input {first.frame}, own scale"
    return f"{_align(rows)}\n({how}; no decoding, no encoding)"


def _figures(scores: PictureScores) -> list[str]:
    return [
        _number(scores.psnr_y, 2), _number(scores.ssim_y, 4), _number(scores.psnr_rgb, 2), _number(scores.ssim_rgb, 4)
    ]  # fmt: skip


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" if math.isfinite(value) else "equal" if value > 0 else "NaN"


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Words to the left (the first two columns), figures to the right."""
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
