"""The pictures that a training learns from: found, decoded once, kept in memory, and counted, the bad ones too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from torch import Tensor

from vsr.errors import DataError
from vsr.model.resample import shrink
from vsr.progress import Progress, SilentProgress
from vsr.training.decoding import Samples, decode_ahead, decode_frame, decode_still, to_float, to_samples
from vsr.training.layout import PictureFile, Skipped, Split, find_files
from vsr.training.sharing import SharedArena

__all__ = ["DataReport", "Pairs", "Pictures", "load_pairs", "open_pictures"]

DEFAULT_MEMORY = 4 << 30
FRAMES_PER_FILM = 24
NUM_NAMES_SHOWN = 8
_WANTED = "a folder of pictures or films is wanted, at any depth"


@dataclass(slots=True)
class DataReport:
    """What was used and what was not; `lines` says it in words.

    Attributes:
        num_pairs: pictures that came with a low-resolution partner.
        num_frames: pictures that are frames of films.
        num_pixels: of all high-resolution pictures together.
        ignored: names of files that are neither pictures nor films.
    """

    num_pictures: int = 0
    num_pairs: int = 0
    num_frames: int = 0
    num_films: int = 0
    num_pixels: int = 0
    num_resident: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One line of counts, then what was left out, by name and with the reason."""
        parts = [f"{self.num_pictures} pictures, {self.num_pixels / 1e6:.1f} megapixels"]
        if self.num_pairs:
            parts.append(f"{self.num_pairs} with a low-resolution partner")
        if self.num_films:
            parts.append(f"{self.num_frames} frames of {self.num_films} films")
        lines = [", ".join(parts)]
        if self.num_resident < self.num_pictures:
            rest = self.num_pictures - self.num_resident
            lines.append(f"{rest} pictures do not fit into memory and are decoded anew whenever one is wanted: slow")
        if self.skipped:
            lines.append(f"{len(self.skipped)} files skipped:")
            lines += [f"  {skipped}" for skipped in self.skipped[:NUM_NAMES_SHOWN]]
            if len(self.skipped) > NUM_NAMES_SHOWN:
                lines.append(f"  and {len(self.skipped) - NUM_NAMES_SHOWN} more")
        if self.ignored:
            shown = ", ".join(self.ignored[:NUM_NAMES_SHOWN]) + (", ..." if len(self.ignored) > NUM_NAMES_SHOWN else "")
            lines.append(f"{len(self.ignored)} files are neither pictures nor films: {shown}")
        return lines

    def reasons(self) -> str:
        """Why nothing could be used, in one line; "" where there was nothing."""
        reasons = [str(skipped) for skipped in self.skipped[:NUM_NAMES_SHOWN]]
        return "; ".join(reasons + [f"neither picture nor film: {name}" for name in self.ignored[:1]])


@dataclass(slots=True)
class _Entry:
    """One picture: where it comes from, its size (a multiple of the scale), its numbers in the arena if it is there."""

    file: PictureFile
    time: Fraction | None
    height: int
    width: int
    is_deep: bool
    high: int | None
    low: int | None


class Pictures:
    """Decoded pictures for one scale, cropped at the right and bottom to multiples of it. Made by `open_pictures`.

    Kept in memory that worker processes share, up to a limit; what does not fit is decoded anew when it is asked for.
    Reading is thread-safe.

    Attributes:
        scale: side of a high-resolution picture over that of its low-resolution one.
        report: what was used and what was not.
        fingerprint: sha256 over names, sizes and contents of the files used, hexadecimal.
    """

    def __init__(self, scale: int, memory: int = DEFAULT_MEMORY) -> None:
        self.scale = scale
        self.report = DataReport()
        self.fingerprint = ""
        self._arena = SharedArena(memory)
        self._entries: list[_Entry] = []
        self._kernel: str | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> list[str]:
        """Below their folder; frames of films with their time."""
        return [
            entry.file.name if entry.time is None else f"{entry.file.name} at {float(entry.time):.3f} s"
            for entry in self._entries
        ]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every high-resolution picture."""
        return [(entry.height, entry.width) for entry in self._entries]

    @property
    def is_deep(self) -> bool:
        """True if any picture has 16 bits."""
        return any(entry.is_deep for entry in self._entries)

    def high(self, index: int) -> Samples:
        """Picture `index`: 3,H,W of uint8 or uint16, read-only where it is resident."""
        entry = self._entries[index]
        return self._decode(entry) if entry.high is None else self._arena.view(entry.high)

    def low(self, index: int) -> Samples:
        """Its low-resolution partner, 3,H/scale,W/scale: the file of it, or else what `make_lows` makes."""
        entry = self._entries[index]
        if entry.low is not None:
            return self._arena.view(entry.low)
        if entry.file.low is not None:
            return decode_still(entry.file.low)
        assert self._kernel, "make_lows comes first"
        return make_low(self.high(index), self.scale, self._kernel)

    def make_lows(self, kernel: str, progress: Progress | None = None) -> None:
        """Shrink every picture that came without a partner, once, as a whole, and keep the result.

        Args:
            kernel: "matlab" or "pillow", see `vsr.model.resample.shrink`.
        """
        assert self._kernel in (None, kernel), self._kernel
        self._kernel = kernel
        progress = progress or SilentProgress()
        missing = [entry for entry in self._entries if entry.low is None and entry.file.low is None]
        missing = [entry for entry in missing if entry.high is not None]
        progress.start("shrinking", len(missing), "pictures")
        for entry in missing:
            assert entry.high is not None
            entry.low = self._arena.store(make_low(self._arena.view(entry.high), self.scale, kernel))
            progress.advance(1)
        progress.finish()

    def _decode(self, entry: _Entry) -> Samples:
        path = entry.file.high
        samples = decode_still(path) if entry.time is None else decode_frame(path, entry.time)
        return samples[:, : entry.height, : entry.width]

    def _add(self, file: PictureFile, time: Fraction | None, high: Samples, low: Samples | None, patch: int) -> None:
        """Take a picture in, or say in the report why not."""
        report, scale = self.report, self.scale
        height, width = (side // scale * scale for side in high.shape[1:])
        stored = f"{high.shape[2]}x{high.shape[1]}"
        if low is not None and low.shape[1:] != (height // scale, width // scale):
            wanted = f"{width // scale}x{height // scale}"
            reason = f"its low-resolution partner is {low.shape[2]}x{low.shape[1]}, not {wanted}, 1/{scale} of {stored}"
            report.skipped.append(Skipped(file.name, reason))
            return
        if min(height, width) < max(1, patch) * scale:
            reason = f"{stored} is too small for patches of {patch * scale}x{patch * scale}"
            report.skipped.append(Skipped(file.name, reason))
            return
        high = high[:, :height, :width]
        numbers = [None if samples is None else self._arena.store(samples) for samples in (high, low)]
        self._entries.append(_Entry(file, time, height, width, high.dtype == np.uint16, *numbers))
        report.num_pictures += 1
        report.num_pairs += low is not None
        report.num_frames += time is not None
        report.num_pixels += height * width
        report.num_resident += numbers[0] is not None


def open_pictures(
    folders: Sequence[Path],
    *,
    scale: int,
    patch: int = 1,
    split: Split = "train",
    memory: int = DEFAULT_MEMORY,
    frames_per_film: int = FRAMES_PER_FILM,
    progress: Progress | None = None,
) -> Pictures:
    """Find and decode the pictures of some folders (or single files); see `vsr.training.layout` for what is understood.

    The result is the same whatever the number of threads.

    Args:
        patch: side of a low-resolution patch; smaller pictures are skipped.
        split: which part of a folder that is divided into `train` and `val`.
        memory: bytes of decoded pictures to keep.
        frames_per_film: how many frames are taken from each film, evenly spread.

    Raises:
        DataError: a folder is missing, or not one picture can be used.
    """
    progress = progress or SilentProgress()
    pictures = Pictures(scale, memory)
    report = pictures.report
    files: list[PictureFile] = []
    for folder in folders:
        layout = find_files(Path(folder), scale, split)
        files += layout.files
        report.skipped += layout.skipped
        report.ignored += layout.ignored
    digests: list[tuple[str, str]] = []
    progress.start("reading pictures", len(files), "files")
    try:
        for file, decoded in decode_ahead(files, frames_per_film):
            progress.advance(1)
            if isinstance(decoded, str):
                report.skipped.append(Skipped(file.name, decoded))
                continue
            before = len(pictures)
            for time, high, low in decoded.pictures:
                pictures._add(file, time, high, low, patch)
            if len(pictures) > before:
                digests += decoded.digests
                report.num_films += file.is_film
    finally:
        progress.finish()
    places = ", ".join(str(folder) for folder in folders)
    if not len(pictures) and split != "val":
        raise DataError(f"{places}: no picture can be used", hint=report.reasons() or _WANTED)
    pictures.fingerprint = hashlib.sha256(repr(sorted(digests)).encode()).hexdigest()
    return pictures


class Pairs(Sequence[tuple[str, Tensor, Tensor]]):
    """(name, low 3,h,w, high 3,H,W), float32 RGB 0..1; kept as integers, made floats whenever one is taken."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self.report = pictures.report

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self[at] for at in range(len(self))[index]]
        at = range(len(self))[index]
        return self._pictures.names[at], to_float(self._pictures.low(at)), to_float(self._pictures.high(at))


def load_pairs(
    folder: Path, scale: int, kernel: str = "matlab", *, split: Split = "all", memory: int = DEFAULT_MEMORY
) -> Pairs:
    """Pictures to measure a network on, with their low-resolution input, in the order of their names.

    Where a picture has no partner, the input is made with `kernel` and rounded to its own depth, as the papers do.

    Raises:
        DataError: the folder is missing, or (unless `split` is "val") holds no usable picture.
    """
    pictures = open_pictures([folder], scale=scale, split=split, memory=memory)
    pictures.make_lows(kernel)
    return Pairs(pictures)


def make_low(high_CHW: Samples, scale: int, kernel: str) -> Samples:
    """Bicubic low-resolution picture of the same depth, rounded to it."""
    low_BCHW = shrink(to_float(high_CHW)[None], scale, kernel)
    return to_samples(low_BCHW[0], is_deep=high_CHW.dtype == np.uint16)
