"""`vsr evaluate`: PSNR, SSIM, flicker and milliseconds of networks and of plain filters, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.cli import INTERRUPTED, report_error
from vsr.errors import Interrupted, UsageError
from vsr.progress import ScreenProgress, printable, show_download

if TYPE_CHECKING:
    from vsr.evaluation import Conditions, DataResult
    from vsr.evaluation.methods import FilterMethod, NetworkMethod
    from vsr.model.speed import Speed

DEFAULT_MODELS = ("bicubic", "fast")


def run(options: argparse.Namespace) -> int:
    """Evaluate every model on every set of data; status 1 if some data could not be used, or not wholly."""
    _check_usage(options)
    from vsr.evaluation import Conditions, open_methods

    with ScreenProgress() as screen:
        methods, scale = open_methods(
            list(dict.fromkeys(options.model or DEFAULT_MODELS)), options.scale,
            device=options.device, precision=options.precision, tell=lambda name: show_download(screen, name),
        )  # fmt: skip
    _note_resampling(methods, scale)
    conditions = Conditions(scale, options.kernel, options.border, options.noise, options.crf, options.seed)
    try:
        results, status = _evaluate_all(options, methods, conditions)
    except (KeyboardInterrupt, Interrupted):
        if not options.save:
            raise
        print(f"vsr: interrupted; outputs kept so far are in {printable(options.save)}", file=sys.stderr)
        return INTERRUPTED
    speeds = _measure_speeds(options, methods)
    if options.json:
        print(json.dumps(_to_json(conditions, methods, results, speeds)))
    else:
        _print(conditions, methods, results, speeds, verbose=options.verbose)
    return status


def _check_usage(options: argparse.Namespace) -> None:
    if not options.data and not options.time:
        raise UsageError("there is nothing to evaluate on", hint="give folders of pictures, or films; or --time alone")
    if any(not name for name in options.data):
        raise UsageError("the name of some data is empty")
    if options.low and len(options.low) != len(options.data):
        raise UsageError(
            f"--low is given {len(options.low)} times for {len(options.data)} sets of data",
            hint="one --low for each, in the same order",
        )
    if options.frames is not None and options.frames < 1:
        raise UsageError(f"--frames {options.frames} is not at least 1")


def _note_resampling(methods: list[FilterMethod | NetworkMethod], scale: int) -> None:
    from vsr.evaluation.methods import NetworkMethod

    for method in methods:
        if isinstance(method, NetworkMethod) and method.upscaler.network.scale != scale:
            own = method.upscaler.network.scale
            print(f"vsr: {method.name} enlarges {own} times; resampled to {scale} times after it", file=sys.stderr)


def _evaluate_all(
    options: argparse.Namespace, methods: list[FilterMethod | NetworkMethod], conditions: Conditions
) -> tuple[list[DataResult], int]:
    results: list[DataResult] = []
    status = 0
    for number, (data, name) in enumerate(zip(options.data, _label(options.data), strict=True)):
        low = Path(options.low[number]) if options.low else None
        try:
            result = _evaluate(Path(data), name, low, options, methods, conditions)
        except (KeyboardInterrupt, Interrupted):
            raise
        except Exception as exc:
            if options.debug:
                raise
            status = max(status, report_error(exc))
            continue
        results.append(result)
        for skipped in result.skipped:
            print(f"vsr: left out: {printable(f'{skipped.path}: {skipped.reason}')}", file=sys.stderr)
        for warning in result.warnings:
            print(f"vsr: {printable(f'{data}: {warning}')}", file=sys.stderr)
        if num_skipped := len(result.skipped):
            total = result.count + num_skipped
            print(f"vsr: {printable(name)}: the figures are of {result.count} out of {total}", file=sys.stderr)
        status = max(status, 0 if result.is_complete else 1)
    return results, status


def _evaluate(
    data: Path,
    name: str,
    low: Path | None,
    options: argparse.Namespace,
    methods: list[FilterMethod | NetworkMethod],
    conditions: Conditions,
) -> DataResult:
    from vsr.evaluation import OutputFolder, evaluate_film, evaluate_pictures
    from vsr.stills import is_still

    outputs = OutputFolder(Path(options.save), bool(options.overwrite)) if options.save else None
    with ScreenProgress() as screen:
        if options.sequence or not (os.path.isdir(data) or is_still(data) or not data.exists()):
            return evaluate_film(
                data, methods, conditions,
                name=name, low=low, num_frames=options.frames, outputs=outputs, progress=screen,
            )  # fmt: skip
        if options.frames is not None:
            print(f"vsr: {printable(str(data))}: --frames is of films; all pictures count", file=sys.stderr)
        return evaluate_pictures(data, methods, conditions, name=name, low=low, outputs=outputs, progress=screen)


def _label(paths: list[str]) -> list[str]:
    """What the data is called: the last part of its path, more where others end alike, a number if it comes twice."""
    wholes = [Path(os.path.abspath(path)) for path in paths]
    labels: list[str] = []
    for number, whole in enumerate(wholes):
        parts = whole.parts
        others = {other.parts for other in wholes} - {parts}
        depth = next(depth for depth in range(1, len(parts) + 1) if all(parts[-depth:] != o[-depth:] for o in others))
        times = wholes[: number + 1].count(whole)
        labels.append(os.path.join(*parts[-depth:]) + (f"#{times}" if times > 1 else ""))
    return labels


def _measure_speeds(options: argparse.Namespace, methods: list[FilterMethod | NetworkMethod]) -> list[Speed]:
    from vsr.evaluation.methods import NetworkMethod
    from vsr.model.speed import measure_speeds
    from vsr.model.upscaler import Upscaler

    if not options.time:
        return []
    networks = [method for method in methods if isinstance(method, NetworkMethod)]
    if not networks:
        raise UsageError("--time needs a network; filters are not timed", hint="give one with --model")
    return measure_speeds({one.name: Upscaler(one.upscaler.network, device=options.device) for one in networks})


def _to_json(
    conditions: Conditions,
    methods: list[FilterMethod | NetworkMethod],
    results: list[DataResult],
    speeds: list[Speed],
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "conditions": asdict(conditions) | {"border": conditions.cut},
        "models": [method.describe() for method in methods],
        "data": [result.to_json() for result in results],
        "speed": [speed.to_json() for speed in speeds],
    }


def _print(
    conditions: Conditions,
    methods: list[FilterMethod | NetworkMethod],
    results: list[DataResult],
    speeds: list[Speed],
    *,
    verbose: bool,
) -> None:
    from vsr.evaluation.methods import NetworkMethod
    from vsr.evaluation.tables import format_scores, format_speeds

    networks = [method for method in methods if isinstance(method, NetworkMethod)]
    if results:
        where = dict.fromkeys(f", {one.upscaler.precision} on {one.upscaler.device}" for one in networks)
        print(f"{conditions.describe()}{' and'.join(where)}")
        print(_printable_lines(format_scores(results, verbose=verbose)))
    if speeds:
        print(("\n" if results else "") + _printable_lines(format_speeds(speeds)))


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))
