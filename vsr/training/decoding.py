"""Picture files and single frames of films as what patches are cut from: RGB samples, 3,H,W, 8 or 16 bits."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsr.errors import SourceError, VsrError
from vsr.stills import read_still
from vsr.training.layout import PictureFile
from vsr.video.color import ColorTags
from vsr.video.pixel_format import describe_format
from vsr.video.probe import probe
from vsr.video.reader import Picture
from vsr.video.stills_of_film import picture_at, sample_pictures

__all__ = [
    "Decoded",
    "Samples",
    "decode_ahead",
    "decode_film",
    "decode_frame",
    "decode_still",
    "to_depth",
    "to_float",
    "to_samples",
]

# Of larger files (films) three pieces stand for the whole in the fingerprint.
MAX_HASHED = 1 << 26
HASHED_PIECE = 1 << 20

# uint8 or uint16
Samples: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]


def decode_still(path: Path) -> Samples:
    """The picture at `path`, upright, as 3,H,W of uint8 or uint16: grey three times, alpha laid over black.

    Raises:
        SourceError: it is no picture, or a broken one.
    """
    still = read_still(path)
    samples = still.pixels
    if still.alpha is not None and not still.is_opaque:
        most = 2**still.bits - 1
        covered = samples.astype(np.uint32) * still.alpha[..., None]
        samples = ((covered + most // 2) // most).astype(still.pixels.dtype)
    upright = _turn_upright(samples, still.metadata.orientation).transpose(2, 0, 1)
    return np.ascontiguousarray(np.broadcast_to(upright, (3, *upright.shape[1:])))


def decode_film(path: Path, count: int) -> Iterator[tuple[Fraction, Samples]]:
    """Yield (time in seconds, 3,H,W) of at most `count` frames, evenly spread; frames of one flat colour are left out.

    Raises:
        SourceError: it is no film, or not one frame could be decoded.
    """
    for picture in sample_pictures(probe(path), count):
        samples = _to_rgb(picture)
        if samples.min() != samples.max():
            yield picture.time, samples


def decode_frame(path: Path, time: Fraction) -> Samples:
    """The frame that `decode_film` gave for `time`.

    Raises:
        SourceError: the film has changed since.
    """
    picture = picture_at(probe(path), time)
    if picture is None:
        raise SourceError(f"{str(path)!r}: the frame at {float(time):.3f} s cannot be read any more")
    return _to_rgb(picture)


def to_float(samples: Samples) -> Tensor:
    """The same values as a float32 tensor, 0..1; any shape."""
    # Torch computes little with uint16, and numpy's conversion to float is as fast as torch's on one thread.
    return torch.from_numpy(samples.astype(np.float32)).div_(np.iinfo(samples.dtype).max)


def to_samples(values: Tensor, *, is_deep: bool) -> Samples:
    """Float values 0..1 rounded to the nearest of 8 or, where `is_deep`, 16 bits; what lies outside is clipped."""
    most = 65535 if is_deep else 255
    rounded = values.mul(most).round_().clamp_(0, most)
    return rounded.cpu().numpy().astype(np.uint16 if is_deep else np.uint8)


def to_depth(samples: Samples, *, is_deep: bool) -> Samples:
    """Samples as 16 bits (white stays white) or rounded to 8; the array itself where it has that depth."""
    if (samples.dtype == np.uint16) == is_deep:
        return samples
    if is_deep:
        return samples.astype(np.uint16) * np.uint16(257)
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one file gave: (time in a film, high, low) of its pictures, and (name, digest) for the fingerprint."""

    pictures: list[tuple[Fraction | None, Samples, Samples | None]]
    digests: list[tuple[str, str]]


def decode_ahead(files: Sequence[PictureFile], frames_per_film: int) -> Iterator[tuple[PictureFile, Decoded | str]]:
    """Yield each file with what is in it, or why it cannot be used, in order; decoded on all cores, a few ahead."""
    num_threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(num_threads, "decode")
    waiting: deque[tuple[PictureFile, Future[Decoded | str]]] = deque()
    try:
        for file in files:
            waiting.append((file, pool.submit(_decode_file, file, frames_per_film)))
            if len(waiting) > 2 * num_threads:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _turn_upright(samples_HWC: Samples, orientation: int) -> Samples:
    """Undo an EXIF orientation (Exif 2.32, tag 274): 5 to 8 lie on their side, the others may be mirrored."""
    if orientation >= 5:
        samples_HWC = samples_HWC.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples_HWC = samples_HWC[::-1]
    if orientation in (2, 3, 6, 7):
        samples_HWC = samples_HWC[:, ::-1]
    return samples_HWC


def _to_rgb(picture: Picture) -> Samples:
    from vsr.pixels import frames_to_tensor

    frame = picture.frame
    tags = ColorTags(int(frame.colorspace), int(frame.color_range), int(frame.color_primaries), int(frame.color_trc))
    rgb_BCHW = frames_to_tensor([frame], tags.resolve(frame.width, frame.height))
    return to_samples(rgb_BCHW[0], is_deep=describe_format(frame.format.name).bits > 8)


def _decode_file(file: PictureFile, frames_per_film: int) -> Decoded | str:
    try:
        digests = [(file.name, _hash_file(file.high))]
        if file.is_film:
            return Decoded([(*item, None) for item in decode_film(file.high, frames_per_film)], digests)
        low = None
        if file.low is not None:
            digests.append((f"{file.name} low", _hash_file(file.low)))
            low = decode_still(file.low)
        return Decoded([(None, decode_still(file.high), low)], digests)
    except VsrError as exc:
        # The report says the name; the message may say the path again.
        return exc.message.removeprefix(f"{file.high}: ")
    except OSError as exc:
        return f"cannot be read ({exc.strerror})"


def _hash_file(path: Path) -> str:
    """Size and sha256; of files above MAX_HASHED only the first, middle and last piece are read."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= MAX_HASHED:
            digest.update(file.read())
        else:
            for start in (0, size // 2, size - HASHED_PIECE):
                file.seek(start)
                digest.update(file.read(HASHED_PIECE))
    return digest.hexdigest()
