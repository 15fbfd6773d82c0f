"""Work not done: what is bit for bit as in the frame before is not computed again, and the film is the same.

Three steps lie around the middle stage. `find_tasks` compares every picture with the one before it, in order;
`compute_tasks` does what is left to do, for any picture at any time, since it needs no other; `Composition` lays
the pieces upon the frame before, in order again. A film where everything changes costs a look at a few rows.

That the result is that of whole frames rests on `WindowCheck` for the network; every other step works sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from vsr.model.exactness import WindowCheck
from vsr.model.patches import area_of, plan_patches
from vsr.model.tiling import Tile
from vsr.model.upscaler import Upscaler
from vsr.pipeline.compute import Tally, choose_codes, compute, compute_windows, look
from vsr.pipeline.plan import FilmPlan
from vsr.video.changes import BLOCK, FrameComparison
from vsr.video.mosaic import Piece, compose
from vsr.video.pixel_format import describe_format
from vsr.video.reader import Picture

__all__ = [
    "Composition", "Outcome", "Task", "compute_tasks", "describe_check", "find_tasks", "group_tasks", "make_check",
]  # fmt: skip

# Pictures that need no work travel with the next one that does, so that no worker is busy with them; but not more than
# this, or the encoder would starve.
MAX_IDLE = 32


@dataclass(frozen=True, slots=True)
class Task:
    """A picture, and what of it is to be computed: None everything; nothing, where it is the one before again.

    A picture that needs nothing has lost its frame: many may wait.
    """

    picture: Picture
    num_pixels: int
    patches: tuple[Tile, ...] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task.

    Attributes:
        frame: the whole one, where that was computed; else there are `pieces` to lay upon the frame before.
        num_computed: pixels that the network has seen for it.
        is_repeated: half precision failed somewhere in the frame, which therefore is one of fp32.
    """

    task: Task
    frame: Any | None = None
    pieces: tuple[Piece, ...] = ()
    num_computed: int = 0
    is_repeated: bool = False


def make_check(plan: FilmPlan, upscaler: Upscaler) -> WindowCheck:
    """The check that all workers of a run share."""
    return WindowCheck(choose_codes(upscaler, plan.output.encoding))


def describe_check(check: WindowCheck) -> list[str]:
    """What the user should know of it, in words."""
    if not check.inexact:
        return []
    sizes = ", ".join(f"{width}x{height}" for height, width in sorted(check.inexact))
    return [f"windows of {sizes} differ from whole frames in the last bit here: such frames were computed whole"]


# --- before the network ---


def find_tasks(pictures: Iterable[Picture], plan: FilmPlan, upscaler: Upscaler) -> Iterator[Task]:
    """What is to be done for each picture, one after the other."""
    comparison, num_repeats = FrameComparison(), upscaler.stats.fp32_repeats
    for picture in pictures:
        task = Task(picture, picture.frame.width * picture.frame.height)
        changed = comparison.find_changes(picture.frame) if plan.reuse else None
        if changed is not None and not changed.any():
            task = replace(task, picture=replace(picture, frame=None), patches=())
        elif changed is not None and _can_be_patched(picture, plan, upscaler, num_repeats):
            task = replace(task, patches=_plan_patches(changed, picture, plan, upscaler))
        yield task
        del picture, task  # while waiting for the next


def _can_be_patched(picture: Picture, plan: FilmPlan, upscaler: Upscaler, num_repeats: int) -> bool:
    """Whether windows can stand for parts of frames.

    Not where a pixel depends on everything, where the outcome is resampled or blended from tiles, on a GPU and in
    engines that want one shape for all, nor once frames have turned out to need another precision.
    """
    encoding = plan.output.encoding
    return (
        upscaler.device.type == "cpu"
        and upscaler.engine == "torch"
        and upscaler.network.halo is not None
        and upscaler.scale == upscaler.network.scale
        and upscaler.output_size(picture.frame.height, picture.frame.width) == (encoding.height, encoding.width)
        and upscaler.stats.fp32_repeats == num_repeats
        and not upscaler.is_blended(picture.frame.height, picture.frame.width)
    )


def _plan_patches(changed: Any, picture: Picture, plan: FilmPlan, upscaler: Upscaler) -> tuple[Tile, ...] | None:
    network, frame = upscaler.network, picture.frame
    assert network.halo is not None
    # On the way in, chroma is interpolated between neighbours; on the way out a triangle reaches to the next sample.
    chroma_in = max(describe_format(frame.format.name).subsampling)
    subsampling = max(describe_format(plan.output.encoding.pix_fmt).subsampling)
    chroma_out = -(-subsampling // network.scale)
    # Edges must lie between chroma samples: subsampling is 1, 2 or 4, which is its least common multiple too.
    whole_samples = subsampling // math.gcd(subsampling, network.scale)
    context = network.halo + chroma_out
    return plan_patches(
        changed,
        BLOCK,
        frame.height,
        frame.width,
        spread=context + chroma_in,
        context=context,
        multiple=math.lcm(network.multiple, whole_samples),
    )


def group_tasks(tasks: Iterable[Task], size: int) -> Iterator[list[Task]]:
    """Groups for one worker each: up to `size` whole pictures of one layout, or one of patches as its last, and any
    that need no work before and between them."""
    group: list[Task] = []
    layout, num_whole = None, 0
    for task in tasks:
        if task.patches is None:
            if num_whole and layout != look(task.picture):
                yield group
                group, num_whole = [], 0
            layout, num_whole = look(task.picture), num_whole + 1
        group.append(task)
        if num_whole == size or task.patches or len(group) >= MAX_IDLE + size:
            yield group
            group, num_whole = [], 0
    if group:
        yield group


# --- the network ---


def compute_tasks(
    group: list[Task], *, upscaler: Upscaler, plan: FilmPlan, tally: Tally, check: WindowCheck
) -> list[Outcome]:
    """Do what is to be done for a group of `group_tasks`.

    Raises:
        Interrupted, SourceError, ProcessingError: as `compute`.
    """
    pictures = [task.picture for task in group if task.patches is None]
    num_repeats = upscaler.stats.fp32_repeats
    frames = iter(compute(pictures, upscaler=upscaler, plan=plan, tally=tally) if pictures else ())
    # A sibling's repeat at the same time counts as well: that costs work, no bit.
    is_repeated = upscaler.stats.fp32_repeats != num_repeats
    outcomes = []
    for task in group:
        if task.patches is None:
            outcomes.append(Outcome(task, next(frames), (), task.num_pixels, is_repeated))
        elif task.patches:
            outcomes.append(_compute_patches(task, task.patches, upscaler, plan, tally, check))
        else:
            outcomes.append(Outcome(task))
    return outcomes


def _compute_patches(
    task: Task, patches: tuple[Tile, ...], upscaler: Upscaler, plan: FilmPlan, tally: Tally, check: WindowCheck
) -> Outcome:
    picture, num_repeats = task.picture, upscaler.stats.fp32_repeats
    height, width = picture.frame.height, picture.frame.width
    if all(check.is_exact(patch, height, width, upscaler) for patch in patches):
        frames = compute_windows(picture, patches, upscaler=upscaler, plan=plan, tally=tally)
        if upscaler.stats.fp32_repeats == num_repeats:
            scale = upscaler.network.scale
            pieces = tuple(_cut_piece(*pair, scale) for pair in zip(patches, frames, strict=True))
            return Outcome(task, None, pieces, sum(map(area_of, patches)))
    (frame,) = compute([picture], upscaler=upscaler, plan=plan, tally=tally)
    return Outcome(task, frame, (), task.num_pixels, upscaler.stats.fp32_repeats != num_repeats)


def _cut_piece(patch: Tile, frame: Any, scale: int) -> Piece:
    rows, cols = patch.rows, patch.cols
    return Piece(
        frame,
        rows.start * scale,
        cols.start * scale,
        slice(rows.keep_start * scale, rows.keep_stop * scale),
        slice(cols.keep_start * scale, cols.keep_stop * scale),
    )


# --- after the network ---


class Composition:
    """Makes the film's frames, one after the other.

    Args:
        upscaler: for the rare frame whose forerunner turned out to be of fp32; no worker's own.
        tally: counts what was reused.
    """

    def __init__(self, upscaler: Upscaler, plan: FilmPlan, tally: Tally) -> None:
        self._upscaler, self._plan, self._tally = upscaler, plan, tally
        self._before: Any | None = None
        self._is_repeated = False

    def add(self, outcome: Outcome) -> Picture:
        """The picture to be written: its frame may be the very object of the picture before."""
        task, frame, num_computed = outcome.task, outcome.frame, outcome.num_computed
        if frame is not None:
            self._is_repeated = outcome.is_repeated
        elif outcome.pieces and self._is_repeated:
            # Where a whole frame would have been repeated in fp32, pieces in half precision are none of it. Whether
            # this one would have been too, only computing it tells; the next ones are whole anyway.
            (frame,) = compute([task.picture], upscaler=self._upscaler, plan=self._plan, tally=self._tally)
            num_computed += task.num_pixels
        elif outcome.pieces:
            assert self._before is not None
            frame = compose(self._before, outcome.pieces)
        else:
            frame = self._before
            self._tally.num_reused += 1
        self._tally.pixels_seen += task.num_pixels
        self._tally.pixels_computed += num_computed
        self._before = frame
        return replace(task.picture, frame=frame)
