"""Where patches are cut, as pure integers drawn from a seed, and the cutting.

The unit of work is a chunk: `patches_per_sheet` consecutive batches. Row r of all of them comes from one sheet, a
region of one picture that is read and degraded once; so a batch has as many pictures as rows, whoever makes a chunk
makes each of its sheets once, and a rank of a distributed run makes the sheets of its own rows alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vsr.errors import DataError, TrainingError, VsrError
from vsr.training.augmentation import NUM_TURNS, copy_turned, jitter_colors
from vsr.training.decoding import Samples, to_depth
from vsr.training.degradation import Degrade

__all__ = ["Chunk", "ChunkPlan", "Chunks", "Source", "choose_sheet", "plan_chunk"]

Integers = npt.NDArray[np.int64]


class Source(Protocol):
    """What `vsr.training.pictures.Pictures` is to a cutter."""

    def __len__(self) -> int: ...

    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...

    @property
    def is_deep(self) -> bool: ...

    @property
    def scale(self) -> int: ...

    def high(self, index: int) -> Samples: ...

    def low(self, index: int) -> Samples: ...


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPlan:
    """Where the patches of one chunk lie; R rows, K batches; all in low-resolution pixels.

    Attributes:
        picture: R, index of each row's picture.
        sheet: R,4, top, left, height and width of its region.
        corner: K,R,2, top and left of the patches within that region.
        turns: K,R, 0 to 7, see `vsr.training.augmentation.turn`.
    """

    picture: Integers
    sheet: Integers
    corner: Integers
    turns: Integers


def choose_sheet(patch: int, patches_per_sheet: int) -> int:
    """Side of a sheet that is degraded: each of its pixels lands in two patches on average."""
    return max(patch, math.ceil(patch * math.sqrt(patches_per_sheet / 2)))


def plan_chunk(
    sizes: Integers, *, patch: int, batch: int, patches_per_sheet: int, sheet: int | None, seed: int, chunk: int
) -> ChunkPlan:
    """Draw one chunk; the result hangs on the arguments alone.

    Pictures are drawn by area, one from each of `batch` equal parts of the whole: every pixel (but those near edges)
    is as likely as any other, and a batch mixes what lies apart in the order of names.

    Args:
        sizes: N,2, height and width of the pictures in low-resolution pixels, none below `patch`.
        sheet: side of the regions; None for whole pictures.
        seed, chunk: not negative.
    """
    rng = np.random.default_rng([seed, chunk])
    bounds = np.cumsum(sizes.prod(axis=1), dtype=np.float64)
    drawn = (np.arange(batch) + rng.random(batch)) / batch * bounds[-1]
    picture = rng.permutation(np.searchsorted(bounds, drawn, side="right").clip(max=len(sizes) - 1))
    whole = sizes[picture]
    region = whole if sheet is None else np.minimum(whole, max(sheet, patch))
    # Floats of 53 bits, cut off: never the upper bound itself, and one call for any bounds.
    place = (rng.random((batch, 2)) * (whole - region + 1)).astype(np.int64)
    corner = (rng.random((patches_per_sheet, batch, 2)) * (region - patch + 1)).astype(np.int64)
    turns = rng.integers(NUM_TURNS, size=(patches_per_sheet, batch))
    return ChunkPlan(picture, np.concatenate((place, region), axis=1), corner, turns)


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """K batches of R rows: `low` K,R,3,h,w and `high` K,R,3,H,W, both uint8 or both uint16."""

    low: Samples
    high: Samples


class Chunks:
    """All chunks of a training, made when asked for: ``chunks[n]``. Safe to send to another process.

    Args:
        source: the pictures, none smaller than a patch.
        patch: side of a low-resolution patch.
        batch: rows of a batch over all ranks; `rows` are those made here.
        degrade: makes low-resolution sheets; None to cut them from `source.low`.
        augment: flips and quarter turns.
        jitter: strength of changes in colour; 0 for none.
    """

    def __init__(
        self,
        source: Source,
        *,
        patch: int,
        batch: int,
        rows: range,
        degrade: Degrade | None,
        patches_per_sheet: int,
        seed: int,
        augment: bool = True,
        jitter: float = 0.0,
    ) -> None:
        self._source, self._degrade = source, degrade
        self._sizes = np.array(source.sizes, np.int64).reshape(-1, 2) // source.scale
        self._patch, self._batch, self._rows, self._depth = patch, batch, rows, patches_per_sheet
        self._sheet = None if degrade is None else choose_sheet(patch, patches_per_sheet)
        self._seed, self._augment, self._jitter = seed, augment, jitter
        self._is_deep = source.is_deep
        if not len(source) or self._sizes.min() < patch:
            side = patch * source.scale
            raise DataError(
                f"no pictures, or some smaller than a patch of {side}x{side}",
                hint="open the pictures with the size of the patches: smaller ones are then skipped",
            )

    @property
    def num_bytes(self) -> int:
        """Size of a chunk."""
        num_pixels = self._patch**2 * (1 + self._source.scale**2)
        return self._depth * len(self._rows) * 3 * num_pixels * (2 if self._is_deep else 1)

    def __getitem__(self, chunk: int) -> Chunk:
        """Make chunk number `chunk`: the batches of steps chunk x K to chunk x K + K - 1.

        Raises:
            SourceError: a picture that was not kept in memory cannot be read any more.
            TrainingError: the degradation failed.
        """
        plan = plan_chunk(
            self._sizes, patch=self._patch, batch=self._batch, patches_per_sheet=self._depth, sheet=self._sheet,
            seed=self._seed, chunk=chunk,
        )  # fmt: skip
        dtype = np.uint16 if self._is_deep else np.uint8
        shape, scale = (self._depth, len(self._rows), 3), self._source.scale
        low = np.empty((*shape, self._patch, self._patch), dtype)
        high = np.empty((*shape, self._patch * scale, self._patch * scale), dtype)
        for place, row in enumerate(self._rows):
            low_sheet, high_sheet = self._make_sheet(plan, row, chunk)
            for at in range(self._depth):
                (top, left), code = plan.corner[at, row].tolist(), int(plan.turns[at, row]) * self._augment
                _cut(low_sheet, low[at, place], top, left, code)
                _cut(high_sheet, high[at, place], top * scale, left * scale, code)
            if self._jitter:
                rng = np.random.default_rng([self._seed, chunk, row, 1])
                low[:, place], high[:, place] = jitter_colors(low[:, place], high[:, place], self._jitter, rng)
        return Chunk(low, high)

    def _make_sheet(self, plan: ChunkPlan, row: int, chunk: int) -> tuple[Samples, Samples]:
        """A low-resolution region and its high-resolution twin."""
        index, scale = int(plan.picture[row]), self._source.scale
        high = self._source.high(index)
        if self._degrade is None:
            return to_depth(self._source.low(index), is_deep=self._is_deep), to_depth(high, is_deep=self._is_deep)
        top, left, height, width = plan.sheet[row].tolist()
        high = high[:, top * scale : (top + height) * scale, left * scale : (left + width) * scale]
        stored_HWC = np.ascontiguousarray(to_depth(high, is_deep=False).transpose(1, 2, 0), np.uint8)
        rng = np.random.default_rng([self._seed, chunk, row, 0])
        try:
            high_HWC = self._degrade.prepare(stored_HWC, scale, rng)
            low_HWC = self._degrade(high_HWC, scale, rng)
        except VsrError:
            raise
        except Exception as exc:
            size = f"{width * scale}x{height * scale}"
            raise TrainingError(f"the degradation of a {size} region failed ({type(exc).__name__}: {exc})") from exc
        assert low_HWC.shape == (height, width, 3), (low_HWC.shape, stored_HWC.shape)
        if high_HWC is not stored_HWC:
            assert high_HWC.shape == stored_HWC.shape, (high_HWC.shape, stored_HWC.shape)
            high = high_HWC.transpose(2, 0, 1)
        return to_depth(low_HWC.transpose(2, 0, 1), is_deep=self._is_deep), to_depth(high, is_deep=self._is_deep)


def _cut(sheet_CHW: Samples, patch_CHW: Samples, top: int, left: int, code: int) -> None:
    height, width = patch_CHW.shape[1:]
    copy_turned(sheet_CHW[:, top : top + height, left : left + width], code, patch_CHW)
