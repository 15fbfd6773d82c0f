"""`vsr probe` and `vsr upscale --dry-run`: what a film holds, what a run would do to it, and what it would cost."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.cli import report_error
from vsr.cli.inputs import list_jobs
from vsr.cli.options import read_settings
from vsr.errors import VsrError
from vsr.progress import printable
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.pipeline.plan import FilmPlan
    from vsr.video.probe import VideoInfo


def run(options: argparse.Namespace) -> int:
    """Describe every input; nothing is written. A dry run of a film that would be refused has the refusal's status."""
    settings = read_settings(options)
    is_dry_run = getattr(options, "dry_run", False)
    status = 0
    for name in options.inputs:
        try:
            jobs = list_jobs(name, options, settings.scale or 4) if is_dry_run else [(Path(name), _output(options))]
            for source, output in jobs:
                facts = _describe(source, output, settings)
                print(json.dumps(facts) if options.json else _format(facts), flush=True)
                if is_dry_run and "refusal" in facts:
                    status = max(status, 1)
        except Exception as exc:
            if options.debug:
                raise
            status = max(status, report_error(exc))
    return status


def _output(options: argparse.Namespace) -> Path | None:
    return Path(options.output) if options.output else None


def _describe(source: Path, output: Path | None, settings: Settings) -> dict[str, Any]:
    from vsr.stills import is_still

    if is_still(source):
        return _describe_still(source, output)
    from vsr.video.probe import probe

    facts = _describe_film(probe(source))
    try:
        facts["run"] = _describe_run(source, output, settings)
    except VsrError as exc:
        # What the film holds is worth knowing even where the run would be refused.
        facts["refusal"] = {"message": exc.message, "hint": exc.hint}
    return facts


def _describe_still(source: Path, output: Path | None) -> dict[str, Any]:
    from vsr.stills import read_still

    still = read_still(source)
    channels = still.pixels.shape[2] + (still.alpha is not None)
    return {
        "path": str(source),
        "picture": f"{still.width}x{still.height}, {channels} channels of {still.bits} bits",
        "output": None if output is None else str(output),
        "warnings": list(still.warnings),
    }


def _describe_film(info: VideoInfo) -> dict[str, Any]:
    colors = info.colors
    return {
        "path": str(info.path),
        "container": info.container,
        "duration": None if info.duration is None else float(info.duration),
        "start": float(info.start),
        "codec": info.codec,
        "size": [info.width, info.height],
        "pixel_format": info.pix_fmt,
        "pixel_aspect": str(info.pixel_aspect) if info.pixel_aspect else None,
        "rotation": info.rotation,
        "frame_rate": float(info.frame_rate) if info.frame_rate else None,
        "time_base": str(info.time_base),
        "frames": info.num_frames,
        "frames_are_estimated": info.frames_are_estimated,
        "interlaced": info.interlaced,
        "color": asdict(colors),
        "hdr": colors.is_hdr,
        "chapters": len(info.chapters),
        "streams": [
            {
                "index": stream.index,
                "kind": stream.kind,
                "codec": stream.codec,
                "language": stream.language,
                "title": stream.title,
                "dispositions": list(stream.dispositions),
                "detail": stream.detail,
            }
            for stream in info.streams
        ],
    }  # fmt: skip


def _describe_run(source: Path, output: Path | None, settings: Settings) -> dict[str, Any]:
    from vsr.api import make_upscaler
    from vsr.pipeline.calibration import calibrate_on_film
    from vsr.pipeline.cost import measure_seconds_per_frame
    from vsr.pipeline.plan import plan_film

    upscaler = make_upscaler(settings, download=False)
    # A folder that the run itself would make is not there yet; what can be written can be asked of the one above it.
    folder = output if output is not None and not output.suffix and not output.exists() else None
    target = next(parent for parent in folder.absolute().parents if parent.is_dir()) if folder is not None else output
    plan: FilmPlan = plan_film(source, target, replace(settings, overwrite=True), upscaler)
    path = plan.output.path if folder is None else folder / plan.output.path.name
    encoding = plan.output.encoding
    calibrated = calibrate_on_film(plan, upscaler)  # refuses what the run would refuse
    seconds = measure_seconds_per_frame(upscaler, plan.info.height, plan.info.width)
    return {
        "output": str(path),
        "output_exists": path.exists(),
        "size": [encoding.width, encoding.height],
        "codec": encoding.codec,
        "decoder": plan.decoder.name,
        "encoder": encoding.encoder,
        "pixel_format": encoding.pix_fmt,
        "model": upscaler.network.name,
        "scale": upscaler.scale,
        "device": str(upscaler.device),
        "precision": upscaler.precision,
        "frames": plan.num_frames,
        "streams": [stream.describe() for stream in plan.output.streams],
        "notes": [*plan.notes, *filter(None, [calibrated])],
        "network_seconds_per_frame": round(seconds, 4),
        "estimated_seconds": None if plan.num_frames is None else round(seconds * plan.num_frames, 1),
    }


def _format(facts: dict[str, Any]) -> str:
    return "\n".join(printable(line) for line in _describe_lines(facts))


def _describe_lines(facts: dict[str, Any]) -> list[str]:
    if "picture" in facts:
        return [f"{facts['path']}: {facts['picture']}", *(f"  note: {note}" for note in facts["warnings"])]
    width, height = facts["size"]
    rate = f"{facts['frame_rate']:.6g} frames/s" if facts["frame_rate"] else "no stated frame rate"
    count = "unknown" if facts["frames"] is None else f"{'about ' * facts['frames_are_estimated']}{facts['frames']}"
    length = "unknown length" if facts["duration"] is None else f"{facts['duration']:.3f} s"
    traits = [
        *(["interlaced"] if facts["interlaced"] else []),
        *(["HDR"] if facts["hdr"] else []),
        *([f"rotated {facts['rotation']}°"] if facts["rotation"] else []),
        *([f"pixel aspect {facts['pixel_aspect']}"] if facts["pixel_aspect"] not in (None, "1") else []),
        *([f"{facts['chapters']} chapters"] if facts["chapters"] else []),
    ]
    lines = [
        f"{facts['path']}: {facts['container']}, {length}",
        f"  picture   {width}x{height} {facts['codec']} {facts['pixel_format']}, {rate}, {count} frames"
        + (f"; {', '.join(traits)}" if traits else ""),
    ]
    actions = {stream["index"]: stream for stream in facts.get("run", {}).get("streams", [])}
    for stream in facts["streams"]:
        fate = actions.get(stream["index"], {})
        words = [
            stream["kind"],
            stream["codec"] or "unknown coding",
            stream["language"] or "",
            stream["title"] or "",
            stream["detail"],
        ]
        action = fate.get("action", "")
        reason = f" ({fate['reason']})" if fate.get("reason") else ""
        lines.append(
            f"  stream {stream['index']:2}  {' '.join(word for word in words if word)}"
            + (f" -> {action}{reason}" if action else "")
        )
    if "refusal" in facts:
        lines.append(f"  refused   {facts['refusal']['message']}")
        if facts["refusal"]["hint"]:
            lines.append(f"  hint      {facts['refusal']['hint']}")
        return lines
    run = facts["run"]
    lines.append(
        f"  a run     {run['output']}: {run['size'][0]}x{run['size'][1]} {run['codec']} {run['pixel_format']}, "
        f"{run['model']} x{run['scale']:g} in {run['precision']} on {run['device']}"
    )
    cost = f"{run['network_seconds_per_frame'] * 1000:.0f} ms per frame in the network"
    if run["estimated_seconds"] is not None:
        cost += f", {_duration(run['estimated_seconds'])} in all"
    lines.append(f"  cost      about {cost}, measured just now; encoding comes beside it")
    lines += [f"  note      {note}" for note in run["notes"]]
    return lines


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
