"""The Python API: one call from a path to a larger film or picture."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsr.errors import UsageError
from vsr.model.group import UpscalerGroup
from vsr.model.loading import load_model
from vsr.model.upscaler import Upscaler
from vsr.pipeline.plan import FilmPlan, plan_film
from vsr.pipeline.report import Report, peak_memory
from vsr.pipeline.run import Makers, upscale_film
from vsr.pipeline.segments import Preview
from vsr.pipeline.stills import output_path_for, upscale_still
from vsr.progress import Progress
from vsr.settings import Settings
from vsr.stills import is_still

__all__ = ["make_upscaler", "upscale", "upscale_image"]

_FILM_ONLY = ("start", "duration")


def upscale(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    preset: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    upscaler: Upscaler | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    pause: threading.Event | None = None,
    preview: Preview | None = None,
    find_makers: Callable[[FilmPlan, Upscaler], Makers] | None = None,
    **options: Any,
) -> Report:
    """Upscale one film or one still picture.

    Args:
        input: the film or picture.
        output: file or existing folder; None: beside the input, `movie_x4.mp4`.
        preset: name or file; `options` win over it.
        settings: everything at once, instead of `preset` and `options`.
        upscaler: one made before by `make_upscaler` with the same settings (loading takes time); it must have been
            made with the same `cancel`.
        progress: hears about every frame.
        cancel: set it from another thread to stop.
        pause: set it from another thread to stop when the group of pictures at hand is finished.
        preview: sees some of the pictures while a film is made.
        find_makers: finds others to make the film's segments: a cluster, see `vsr.jobs.cluster`.
        options: fields of `Settings`: scale, model, device, precision, engine, decoder, encoder, reuse, tile, batch,
            codec, crf, encoder_preset, start, duration, overwrite, fresh, allow_corrupt, drop.

    Returns:
        What was done. `Report.damaged` says that the source was broken and pictures may be missing.

    Raises:
        VsrError: see `vsr.errors`; nothing is left under the output's name.
        Interrupted: `cancel` or `pause` was set, or Ctrl-C pressed; the same call goes on where a film stopped.
    """
    if settings is None:
        settings = Settings.from_options(preset, **options)
    elif options or preset is not None:
        raise UsageError("settings come with neither preset nor options")
    if upscaler is not None and settings.scale not in (None, upscaler.scale):
        raise UsageError(f"the upscaler given enlarges {upscaler.scale:g} times, the settings say {settings.scale:g}")
    cancel = cancel or threading.Event()
    upscaler = upscaler or make_upscaler(settings, cancel=cancel)
    source, target = Path(input), Path(output) if output is not None else None
    if is_still(source):
        return upscale_image(source, target, settings, upscaler)
    plan = plan_film(source, target, settings, upscaler)
    makers = find_makers(plan, upscaler) if find_makers is not None else None
    return upscale_film(plan, upscaler, cancel=cancel, pause=pause, progress=progress, preview=preview, makers=makers)


def make_upscaler(
    settings: Settings,
    *,
    cancel: threading.Event | None = None,
    download: bool = True,
    on_download: Callable[[int, int], None] | None = None,
) -> Upscaler:
    """Load the network that `settings` name and put it on its device.

    Args:
        download: fetch weights that are not on this machine yet.
        on_download: called with (bytes done, bytes in all).

    Raises:
        ModelError: no such network, or its weights cannot be had or used.
        DeviceError: the device or precision is not there.
    """
    network = load_model(settings.model, scale=settings.scale, download=download, progress=on_download)
    options: dict[str, Any] = {
        "scale": settings.scale,
        "precision": settings.precision,
        "engine": settings.engine,
        "tile": settings.tile,
        "cancel": cancel,
    }
    if len(settings.devices) > 1:
        return UpscalerGroup(network, settings.devices, **options)
    return Upscaler(network, device=settings.device, **options)


def upscale_image(source: Path, output: Path | None, settings: Settings, upscaler: Upscaler) -> Report:
    """Upscale one still picture; see `upscale`."""
    notes = tuple(
        f"{name} is without effect on a picture" for name in _FILM_ONLY if getattr(settings, name) is not None
    )
    target = output_path_for(source, upscaler.scale, output)
    done = upscale_still(source, target, upscaler, overwrite=settings.overwrite)
    return Report(
        input=str(done.input),
        output=str(done.output),
        kind="image",
        frames_in=1,
        frames_out=1,
        seconds=done.seconds,
        fps=1 / done.seconds,
        model=upscaler.network.name,
        scale=upscaler.scale,
        size_in=(done.width_in, done.height_in),
        size_out=(done.width_out, done.height_out),
        device=str(upscaler.device),  # one picture goes to the first of several
        precision=done.precision or upscaler.precision,
        tile=done.tile,
        codec=None,
        streams=(),
        stage_seconds={},
        peak_memory_bytes=peak_memory(),
        warnings=tuple(dict.fromkeys((*notes, *done.warnings, *upscaler.warnings))),
    )
