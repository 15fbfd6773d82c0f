"""A film's journey: decode and compare | compute | compose and encode, segment by segment; then all segments are joined
with the sound, read back, compared, and the file gets its name.

The stages are passive (generators, and a function for the middle one). The `Prefetch` between them hold all the threads
there are: one that decodes, as many that compute as `CoreShare` asks for (for GPUs: that launch, and one more that
lands, see `vsr.pipeline.lane`), and two that encode in turns: while one drains the encoder of a finished segment, the
other is at the next. What is done lies on the disk, so that a run which is broken off is gone on with. Others may make
segments as well: a cluster does, see `vsr.jobs.cluster`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol

from vsr.errors import Interrupted, ProcessingError
from vsr.model.exactness import WindowCheck
from vsr.model.upscaler import Upscaler
from vsr.pipeline.calibration import calibrate_on_film
from vsr.pipeline.clock import StageClock
from vsr.pipeline.compute import Tally
from vsr.pipeline.fingerprint import describe_work
from vsr.pipeline.gaps import GapReader
from vsr.pipeline.journal import Entry, Facts
from vsr.pipeline.lane import Lane, fly
from vsr.pipeline.plan import FilmPlan
from vsr.pipeline.prefetch import Prefetch
from vsr.pipeline.report import Report, peak_memory
from vsr.pipeline.reuse import Outcome, Task, compute_tasks, describe_check, find_tasks, group_tasks, make_check
from vsr.pipeline.segments import Composer, Orders, Preview, check_chain, finish_segment
from vsr.pipeline.work_folder import WorkFolder
from vsr.pipeline.workers import CoreShare, keep_thread_setting, list_ways
from vsr.progress import Progress, SilentProgress
from vsr.video.damage import Damage
from vsr.video.landmarks import Landmarks
from vsr.video.reader import Picture
from vsr.video.segment_encoder import encode_segments
from vsr.video.segments import SegmentGrid
from vsr.video.truncation import find_truncation
from vsr.video.writer import Writer

__all__ = ["Makers", "SegmentMaker", "upscale_film"]

# Frames that may wait between two stages. Decoded ones are small; finished ones are scale² times as large.
DECODED_AHEAD = 4
FINISHED_AHEAD = 2


def upscale_film(
    plan: FilmPlan,
    upscaler: Upscaler,
    *,
    cancel: threading.Event | None = None,
    pause: threading.Event | None = None,
    progress: Progress | None = None,
    preview: Preview | None = None,
    makers: Makers | None = None,
) -> Report:
    """Do what `plan` says, or what is left of it. The output has its name only when it is complete and verified.

    Args:
        upscaler: made with the same `cancel` event, so that one heavy frame does not hold up an interruption.
        cancel: set it (from a signal handler or another thread) to stop.
        pause: set it to stop when the group of pictures at hand is finished.
        preview: sees some of the pictures.
        makers: make the segments instead of `upscaler`, which then is asked only what the film will be.

    Raises:
        Interrupted: `cancel` or `pause` was set, or Ctrl-C pressed. What is done lies in the work folder, and the next
            call goes on with it; there is nothing under the output's name.
        LockedError: another process works on this film.
        SourceError, OutputError, ProcessingError: what went wrong, with the file and, where there is one, the time.
    """
    orders = Orders(cancel or threading.Event(), pause or threading.Event(), progress or SilentProgress(), preview)
    run = _Run(plan, upscaler, orders)
    identity = describe_work(plan, upscaler) if makers is None else makers.identity
    num_told = len(upscaler.warnings)
    try:
        with WorkFolder(
            plan.output.path, plan.info.path, identity, num_frames=plan.num_frames,
            num_threads=plan.output.encoding.num_threads, fresh=plan.fresh,
        ) as work:  # fmt: skip
            if work.reason:
                orders.progress.tell(f"begun anew: {work.reason}")  # a report is hours away, and may never come
            orders.progress.start(plan.info.path.name, plan.num_frames, "frames", work.num_resumed)
            (run if makers is None else makers).make_segments(work)
            writer = run.join(work)
            report = run.report(work, writer)
            try:
                work.remove()
            except OSError as exc:  # the film is there all the same
                note = f"{str(work.path)!r} could not be removed: {exc.strerror}"
                report = replace(report, warnings=(*report.warnings, note))
        return report
    except KeyboardInterrupt as exc:
        raise Interrupted from exc
    finally:
        upscaler.halt.clear()
        orders.progress.finish()
        del upscaler.warnings[num_told:]  # the next film must not be told of this one's troubles


class Makers(Protocol):
    """Others who make the segments of a film."""

    @property
    def identity(self) -> dict[str, str]:
        """What their segments depend on, as `vsr.pipeline.fingerprint.describe_work` has it."""

    def make_segments(self, work: WorkFolder) -> None:
        """Make all that is missing, and record it."""


class SegmentMaker:
    """The stages from a film's pictures to its segments.

    Attributes:
        grid: of the film.
        landmarks: are to watch the pictures on their way into `make`.
        clock, tally: what it took, and what was counted.
    """

    def __init__(self, plan: FilmPlan, upscaler: Upscaler, orders: Orders) -> None:
        self._plan, self._upscaler, self._orders = plan, upscaler, orders
        self.clock, self.tally = StageClock(), Tally()
        self.grid = SegmentGrid.of(plan.info, plan.output.window)
        self.landmarks = Landmarks(self.grid)
        self._check = make_check(plan, upscaler)

    @property
    def notes(self) -> list[str]:
        """What the user should know, in words."""
        return describe_check(self._check)

    def make(
        self, pictures: Iterable[Picture], folder: Path, num_threads: int, record: Callable[[Entry], None]
    ) -> None:
        """Make the segments of `pictures`, until these end, or `pause` is set.

        Args:
            pictures: in the order of their time; of each cell of the grid all or none.
            folder: where the files go.
            num_threads: of the encoder, see `vsr.video.coders.count_threads`.
            record: takes each segment as soon as it is finished, in the order of the film.

        Raises:
            Interrupted: `cancel` was set.
            SourceError, OutputError, ProcessingError: what went wrong, with the file and, where there is one, the time.
        """
        plan, upscaler, orders, clock, tally = self._plan, self._upscaler, self._orders, self.clock, self.tally
        encoding = replace(plan.output.encoding, num_threads=num_threads)
        share = CoreShare(list_ways(upscaler, plan.num_groups))
        composer = Composer(self.grid, plan, upscaler, tally, orders)
        finish = partial(finish_segment, landmarks=self.landmarks, composer=composer, clock=clock)
        upscalers = upscaler.split(share.num_workers)
        tasks = clock.watch("decode", find_tasks(pictures, plan, upscaler))
        decoded: Prefetch[Task] = Prefetch(tasks, DECODED_AHEAD, "decode")
        with keep_thread_setting(), decoded:
            groups = group_tasks(decoded, plan.batch)
            with _enlarge(groups, upscalers, share, plan, tally, clock, self._check) as computed:
                composed = composer.pictures(chain.from_iterable(computed), clock)
                full = encode_segments(composed, self.grid, encoding, folder, plan.output.path)
                finished: Prefetch[Entry] = Prefetch(full, 0, "encode", [finish, finish])
                with finished, _halting(upscaler):
                    num_noted = len(upscaler.warnings)
                    for entry in finished:
                        record(replace(entry, notes=tuple(upscaler.warnings[num_noted:])))
                        num_noted = len(upscaler.warnings)
                    if orders.pause.is_set():
                        upscaler.halt.set()  # nobody waits for the frames that were begun meanwhile


class _Run:
    """One film, from its gaps to its report."""

    def __init__(self, plan: FilmPlan, upscaler: Upscaler, orders: Orders) -> None:
        self._plan, self._upscaler, self._orders = plan, upscaler, orders
        self._begin = time.perf_counter()
        self._maker = SegmentMaker(plan, upscaler, orders)
        self._reader = GapReader(plan, self._maker.landmarks)
        self._notes: list[str] = []

    def make_segments(self, work: WorkFolder) -> None:
        """Fill the gaps; each segment is recorded as soon as it is finished."""
        gaps = work.gaps()
        if not gaps:
            return
        plan, orders = self._plan, self._orders
        self._notes += filter(None, [calibrate_on_film(plan, self._upscaler, orders.cancel)])
        self._maker.make(self._reader.pictures(gaps), work.path, work.num_threads, work.record)
        if orders.pause.is_set() and work.gaps():
            raise Interrupted
        num_written = work.num_frames - work.num_resumed
        if num_written != self._reader.num_read:
            raise ProcessingError(
                f"{str(plan.info.path)!r}: {self._reader.num_read} frames were decoded, {num_written} written"
            )

    def join(self, work: WorkFolder) -> Writer:
        """Write the film and verify it; then it has its name."""
        check_chain(work.entries, str(work.path))
        with (
            Writer(self._plan.info, self._plan.output, cancel=self._orders.cancel) as writer,
            self._maker.clock.working("encode"),
        ):
            writer.join([entry.file for entry in work.entries])
            writer.finish()
        return writer

    def report(self, work: WorkFolder, writer: Writer) -> Report:
        """What was done, in this run and in those before it."""
        plan, upscaler, tally, entries = self._plan, self._upscaler, self._maker.tally, work.entries
        info, output = plan.info, plan.output
        facts = _sum_facts(entries)
        damage = _sum_damage(entries, writer)
        if output.window.end is None:
            damage.cut_off = find_truncation(info, writer.copier)
        decoders = [reader.decoder for reader in self._reader.readers]
        warnings = [*filter(None, [work.reason and f"begun anew: {work.reason}"])]
        warnings += [*plan.notes, *damage.describe(), *chain.from_iterable(one.notes for one in decoders), *self._notes]
        warnings += [*upscaler.warnings, *chain.from_iterable(entry.notes for entry in entries)]
        warnings += [*self._maker.notes, *writer.copier.notes()]
        warnings += [f"the container did not keep {tag}" for tag in writer.lost_tags]
        if facts.num_interlaced:
            warnings.append(
                f"{facts.num_interlaced} interlaced frames were deinterlaced with bwdif, one out for each one in"
            )
        size = (output.encoding.width, output.encoding.height)
        if tally.sizes_resampled:
            warnings.append(f"the picture size changes within the film: resampled to {size[0]}x{size[1]}")
        seconds = time.perf_counter() - self._begin
        return Report(
            input=str(info.path),
            output=str(output.path),
            kind="film",
            frames_in=work.num_frames,
            frames_out=writer.num_frames,
            seconds=seconds,
            fps=(writer.num_frames - work.num_resumed) / seconds,
            model=upscaler.network.name,
            scale=upscaler.scale,
            size_in=(info.width, info.height),
            size_out=size,
            device=upscaler.placement,
            precision=upscaler.precision,
            tile=tally.tile,
            codec=output.encoding.codec,
            streams=tuple(stream.describe() for stream in output.streams),
            stage_seconds=dict(self._maker.clock.seconds),
            peak_memory_bytes=peak_memory(),
            warnings=tuple(dict.fromkeys(warnings)),
            damaged=damage.is_lossy(),
            decoder=decoders[-1].name if decoders else plan.decoder.name,
            encoder=output.encoding.encoder,
            frames_resumed=work.num_resumed,
            frames_reused=facts.num_reused,
            area_computed=facts.pixels_computed / max(1, facts.pixels_seen),
        )


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


def _sum_facts(entries: Iterable[Entry]) -> Facts:
    counts = [astuple(entry.facts) for entry in entries]
    return Facts(*map(sum, zip(*counts, strict=True)))


def _sum_damage(entries: Iterable[Entry], writer: Writer) -> Damage:
    damage = Damage()
    for entry in entries:
        damage.add(entry.span.damage)
    damage.read_error = damage.read_error or writer.copier.read_error
    return damage


@contextmanager
def _halting(upscaler: Upscaler) -> Iterator[None]:
    """Tells the upscaler to stop when its block is left by an exception: its threads may be in a heavy frame."""
    try:
        yield
    except BaseException:
        upscaler.halt.set()
        raise
