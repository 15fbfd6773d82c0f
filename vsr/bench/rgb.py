"""8-bit RGB arrays out of a film and into one, through PyAV: the ends of the plain loop where there is no ffmpeg."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vsr.bench.task import Coding
from vsr.video.faults import reading, writing

__all__ = ["Array", "read_rgb", "write_rgb"]

Array = npt.NDArray[np.uint8]


def read_rgb(path: Path) -> Iterator[Array]:
    """Every picture of a film, H,W,3.

    Raises:
        SourceError: it cannot be read.
    """
    with reading(path), av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture: Array = frame.to_ndarray(format="rgb24")  # type: ignore[assignment]
            yield picture


def write_rgb(path: Path, pictures: Iterable[Array], coding: Coding) -> int:
    """Encode pictures of one size, H,W,3; returns how many there were.

    Raises:
        OutputError: the encoder does not take them, or the disk is full.
    """
    num_pictures = 0
    with writing(path), av.open(str(path), "w") as container:
        stream: Any = container.add_stream(coding.encoder, rate=Fraction(coding.rate), options=dict(coding.options))
        stream.pix_fmt = coding.pix_fmt
        for picture in pictures:
            if num_pictures == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
            num_pictures += 1
        container.mux(stream.encode(None))
    return num_pictures
