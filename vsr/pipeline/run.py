"""A film's journey: decode and compare | compute | compose and encode, then read back, compare, rename.

The stages are passive (generators, and a function for the middle one). The `Prefetch` between them hold all the threads
there are: one that decodes, and as many that compute as `CoreShare` asks for (for GPUs: that launch, and one more that
lands, see `vsr.pipeline.lane`); encoding is the caller's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain

from vsr.errors import Interrupted, ProcessingError
from vsr.model.exactness import WindowCheck
from vsr.model.upscaler import Upscaler
from vsr.pipeline.calibration import calibrate_on_film
from vsr.pipeline.clock import StageClock
from vsr.pipeline.compute import Tally
from vsr.pipeline.lane import Lane, fly
from vsr.pipeline.plan import FilmPlan
from vsr.pipeline.prefetch import Prefetch
from vsr.pipeline.report import Report, peak_memory
from vsr.pipeline.reuse import (
    Composition,
    Outcome,
    Task,
    compute_tasks,
    describe_check,
    find_tasks,
    group_tasks,
    make_check,
)
from vsr.pipeline.workers import CoreShare, keep_thread_setting, list_ways
from vsr.progress import Progress, SilentProgress
from vsr.video.reader import Picture, Reader
from vsr.video.truncation import find_truncation
from vsr.video.writer import Writer, minimal_step

__all__ = ["upscale_film"]

# Frames that may wait between two stages. Decoded ones are small; finished ones are scale² times as large.
DECODED_AHEAD = 4
FINISHED_AHEAD = 2


def upscale_film(
    plan: FilmPlan, upscaler: Upscaler, *, cancel: threading.Event | None = None, progress: Progress | None = None
) -> Report:
    """Do what `plan` says. The output has its name only when it is complete and verified.

    Args:
        upscaler: made with the same `cancel` event, so that one heavy frame does not hold up an interruption.
        cancel: set it (from a signal handler or another thread) to stop.

    Raises:
        Interrupted: `cancel` was set or Ctrl-C pressed; nothing is left behind.
        SourceError, OutputError, ProcessingError: what went wrong, with the file and, where there is one, the time.
    """
    cancel = cancel or threading.Event()
    progress = progress or SilentProgress()
    clock, tally, begin = StageClock(), Tally(), time.perf_counter()
    info, output = plan.info, plan.output
    reader = Reader(info, output.window, minimal_step(output.path, info.time_base), plan.decoder.make(info))
    share = CoreShare(list_ways(upscaler, plan.num_groups))
    upscalers = upscaler.split(share.num_workers)
    check = make_check(plan, upscaler)
    composition = Composition(upscaler, plan, tally)
    num_told, calibrated = len(upscaler.warnings), None
    progress.start(info.path.name, plan.num_frames, "frames")
    try:
        calibrated = calibrate_on_film(plan, upscaler, cancel)
        with keep_thread_setting(), Writer(info, output, cancel=cancel) as writer:
            tasks = clock.watch("decode", find_tasks(_count(reader.pictures(), tally), plan, upscaler))
            decoded: Prefetch[Task] = Prefetch(tasks, DECODED_AHEAD, "decode")
            with decoded:
                groups = group_tasks(decoded, plan.batch)
                with _enlarge(groups, upscalers, share, plan, tally, clock, check) as computed, _halting(upscaler):
                    for outcome in chain.from_iterable(computed):
                        if cancel.is_set():
                            raise Interrupted
                        with clock.working("encode"):
                            writer.write(composition.add(outcome))
                        progress.advance(1, f"{clock.bottleneck} is the slowest stage")
            if writer.num_frames != tally.num_decoded:
                raise ProcessingError(
                    f"{str(info.path)!r}: {tally.num_decoded} frames were decoded, {writer.num_frames} written"
                )
            with clock.working("encode"):
                writer.finish()
    except KeyboardInterrupt as exc:
        raise Interrupted from exc
    finally:
        upscaler.halt.clear()
        progress.finish()
        film_warnings = [*filter(None, [calibrated]), *upscaler.warnings, *describe_check(check)]
        del upscaler.warnings[num_told:]  # the next film must not be told of this one's troubles
    return _report(plan, upscaler, reader, writer, tally, clock, film_warnings, begin)


def _enlarge(
    groups: Iterable[list[Task]],
    upscalers: list[Upscaler],
    share: CoreShare,
    plan: FilmPlan,
    tally: Tally,
    clock: StageClock,
    check: WindowCheck,
) -> AbstractContextManager[Iterable[list[Outcome]]]:
    """The middle stage in threads of its own: GPUs are given work ahead, cores a frame each."""
    if upscalers[0].device.type == "cuda":
        return fly(groups, [Lane(one, plan, tally) for one in upscalers], clock)
    workers = [
        share.share(clock.timed("compute", work, lambda: share.way.num_frames))
        for work in (partial(compute_tasks, upscaler=one, plan=plan, tally=tally, check=check) for one in upscalers)
    ]
    return Prefetch(groups, FINISHED_AHEAD, "compute", workers)


def _report(
    plan: FilmPlan,
    upscaler: Upscaler,
    reader: Reader,
    writer: Writer,
    tally: Tally,
    clock: StageClock,
    film_warnings: list[str],
    begin: float,
) -> Report:
    info, output, damage = plan.info, plan.output, reader.damage
    damage.read_error = damage.read_error or writer.copier.read_error
    if output.window.end is None:
        damage.cut_off = find_truncation(info, writer.copier)
    warnings = [*plan.notes, *damage.describe(), *reader.decoder.notes, *film_warnings, *writer.copier.notes()]
    warnings += [f"the container did not keep {tag}" for tag in writer.lost_tags]
    if reader.num_deinterlaced:
        warnings.append(
            f"{reader.num_deinterlaced} interlaced frames were deinterlaced with bwdif, one out for each one in"
        )
    size = (output.encoding.width, output.encoding.height)
    if tally.sizes_resampled:
        warnings.append(f"the picture size changes within the film: resampled to {size[0]}x{size[1]}")
    seconds = time.perf_counter() - begin
    return Report(
        input=str(info.path),
        output=str(output.path),
        kind="film",
        frames_in=tally.num_decoded,
        frames_out=writer.num_frames,
        seconds=seconds,
        fps=writer.num_frames / seconds,
        model=upscaler.network.name,
        scale=upscaler.scale,
        size_in=(info.width, info.height),
        size_out=size,
        device=upscaler.placement,
        precision=upscaler.precision,
        tile=tally.tile,
        codec=output.encoding.codec,
        streams=tuple(stream.describe() for stream in output.streams),
        stage_seconds=dict(clock.seconds),
        peak_memory_bytes=peak_memory(),
        warnings=tuple(dict.fromkeys(warnings)),
        damaged=damage.is_lossy(),
        decoder=reader.decoder.name,
        encoder=output.encoding.encoder,
        frames_reused=tally.num_reused,
        area_computed=tally.pixels_computed / max(1, tally.pixels_seen),
    )


def _count(pictures: Iterable[Picture], tally: Tally) -> Iterator[Picture]:
    for picture in pictures:
        tally.num_decoded += 1
        yield picture


@contextmanager
def _halting(upscaler: Upscaler) -> Iterator[None]:
    """Tells the upscaler to stop when its block is left by an exception: its threads may be in a heavy frame."""
    try:
        yield
    except BaseException:
        upscaler.halt.set()
        raise
