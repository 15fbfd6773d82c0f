"""What a film's finished segments depend on: were it another, they would be other segments."""

from __future__ import annotations

import hashlib
import os
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import torch

from vsr import __version__
from vsr.errors import SourceError
from vsr.model.network import Network
from vsr.model.upscaler import Upscaler
from vsr.pipeline.plan import FilmPlan
from vsr.video.abilities import describe_ffmpeg
from vsr.video.encoding import Encoding
from vsr.video.segments import SegmentGrid

__all__ = ["describe_source", "describe_work", "find_difference"]

# Of a film the beginning, the middle and the end are looked at, so many bytes of each.
SAMPLE = 1 << 20
# Where this differs between two runs, the pictures do not; or something else tells of it.
_WITHOUT_EFFECT = {"warnings", "num_threads", "on_device"}


def describe_work(plan: FilmPlan, upscaler: Upscaler) -> dict[str, str]:
    """Everything that shapes a film's coded pictures, by name, in words.

    Raises:
        SourceError: the film cannot be read.
    """
    encoding, window = plan.output.encoding, plan.output.window
    grid = SegmentGrid.of(plan.info, window)
    return {
        **describe_source(plan.info.path),
        "part": f"{window.start} to {window.end}",
        "segments": f"{grid.length} s from {grid.origin} s on",
        "container": plan.output.path.suffix.lower(),
        "decoder": plan.decoder.name,
        "model": upscaler.network.name,
        "weights": _sum_weights(upscaler.network),
        "scale": f"{upscaler.scale:g}",
        "device": upscaler.device.type,
        "engine": upscaler.engine,
        "precision": upscaler.precision,
        "tile": str(plan.tile),
        **{name: _describe(encoding, name) for name in sorted(f.name for f in fields(Encoding))
           if name not in _WITHOUT_EFFECT},
        "version of vsr": __version__,
        "version of torch": str(torch.__version__),
        f"version of {upscaler.engine}": str(import_module(upscaler.engine).__version__),
        "version of libavcodec": describe_ffmpeg()["libavcodec"],
    }  # fmt: skip


def describe_source(path: Path) -> dict[str, str]:
    """What tells one version of a film file from another: size, time of its last change, and samples of its bytes.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            digest = hashlib.sha256()
            for start in sorted({0, max(0, status.st_size // 2 - SAMPLE // 2), max(0, status.st_size - SAMPLE)}):
                file.seek(start)
                digest.update(file.read(SAMPLE))
    except OSError as exc:
        raise SourceError(f"{str(path)!r} cannot be read: {exc.strerror}") from exc
    return {
        "source": f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns",
        "content": digest.hexdigest(),
    }


def find_difference(before: dict[str, str], now: dict[str, str]) -> str | None:
    """The first thing that is not as it was, in words; None where all is."""
    for name in now:
        if before.get(name) != now[name]:
            if name == "source" or name == "content":
                return "the source has changed"
            if name == "weights":
                return "the network's weights have changed"
            return f"{name.replace('_', ' ')} was {before.get(name, 'unknown')} and is {now[name]}"
    return None


def _describe(encoding: Encoding, name: str) -> str:
    value = getattr(encoding, name)
    return " ".join(f"{key}={value[key]}" for key in sorted(value)) if isinstance(value, dict) else str(value)


def _sum_weights(network: Network) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(network.module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
