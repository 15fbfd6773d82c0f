"""NVDEC, NVENC and DALI on a GPU: skipped where there is none, a failure with VSR_REQUIRE_GPU=1. Not yet run on one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import films
from vsr.errors import DeviceError
from vsr.video import dali, nvdec, nvenc
from vsr.video.containers import plan_streams
from vsr.video.decoder_choice import choose_decoder
from vsr.video.encoding import choose_encoding
from vsr.video.pixel_format import describe_format, resolve_tags
from vsr.video.planes import download, view_samples
from vsr.video.probe import probe
from vsr.video.reader import Picture, Reader, Window
from vsr.video.segment_encoder import encode_film
from vsr.video.segments import SegmentGrid
from vsr.video.writer import OutputPlan, Writer

# Every NVDEC and NVENC takes this size.
SIZE = (320, 192)
FILMS: dict[str, tuple[Callable[..., films.Film], str, dict[str, object]]] = {
    "h264": (films.plain, "film.mp4", {}),
    "b-frames": (films.b_frames, "film.mkv", {}),
    "variable rate": (films.variable_rate, "film.mp4", {}),
    "delayed": (films.delayed_video, "film.mp4", {}),
    "bt.709": (films.tagged, "film.mp4", {"tags": films.BT709}),
    "hevc": (films.silent, "film.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
    "vp9": (films.webm, "film.webm", {}),
}
Make = Callable[..., films.Film]


@pytest.fixture(autouse=True)
def gpu() -> None:
    try:
        nvdec.open_device(0)
    except DeviceError as exc:
        if os.environ.get("VSR_REQUIRE_GPU") == "1":
            raise
        pytest.skip(exc.message)


def read(path: Path, decoder: str) -> tuple[Reader, list[Picture]]:
    info = probe(path)
    reader = Reader(info, decoder=choose_decoder(info, decoder, 0).make(info))
    return reader, list(reader.pictures())


def stamps(pictures: list[Picture]) -> list[tuple[int, int]]:
    return [(picture.pts, picture.duration) for picture in pictures]


def codes(frame: Any) -> list[np.ndarray]:
    samples = view_samples(download(frame))
    return [component.astype(int) >> samples.shift for component in samples.components]


@pytest.mark.parametrize("name", [*FILMS, "10 bits"])
def test_nvdec_gives_what_software_gives(name: str, make_film: Make) -> None:
    """The decoding of these codings is exact by their standards: the same codes, not similar ones."""
    ten_bit = (films.hdr10, "film.mkv", {})
    recipe, file, changes = ten_bit if name == "10 bits" else FILMS[name]
    film = make_film(recipe, file, **changes, size=SIZE)
    reader, on_gpu = read(film.path, "nvdec")
    _, on_cpu = read(film.path, "software")
    assert (reader.decoder.name, reader.decoder.notes) == ("nvdec", [])
    assert {picture.frame.format.name for picture in on_gpu} == {"cuda"}
    assert stamps(on_gpu) == stamps(on_cpu)
    for ours, theirs in zip(on_gpu, on_cpu, strict=True):
        for got, wanted in zip(codes(ours.frame), codes(theirs.frame), strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", FILMS)
def test_dali_gives_nearly_what_software_gives(name: str, make_film: Make) -> None:
    from vsr.pixels import frames_to_tensor

    if not dali.is_installed():
        pytest.skip("DALI is not installed: pip install 'vsr[dali]'")
    recipe, file, changes = FILMS[name]
    film = make_film(recipe, file, **changes, size=SIZE)
    reader, by_dali = read(film.path, "dali")
    _, by_software = read(film.path, "software")
    assert reader.decoder.name == "dali"
    assert stamps(by_dali) == stamps(by_software)
    info = probe(film.path)
    tags = resolve_tags(info.colors, describe_format(info.pix_fmt), *SIZE)
    for ours, theirs in zip(by_dali, by_software, strict=True):
        difference = frames_to_tensor([ours.frame], tags, device="cuda").cpu() - frames_to_tensor([theirs.frame], tags)
        # Chroma was rounded in between: two codes at most, each 1.86 / 224 of blue at most.
        assert difference.abs().max() <= 2 * 1.86 / 224 + 1e-4


def to_cuda_frame(frame: Any, ring: list[Any], index: int) -> Any:
    """A frame of system memory as CUDA frame, its planes slices of one buffer of a ring, as NVENC wants them."""
    import torch

    luma, chroma = (torch.from_dlpack(plane) for plane in frame.reformat(format="nv12").planes)
    height, width = luma.shape
    buffer = ring[index % len(ring)]
    buffer[:height].copy_(luma)
    buffer[height:].copy_(chroma.reshape(height // 2, width))
    torch.cuda.synchronize()
    return av.VideoFrame.from_dlpack(
        (buffer[:height], buffer[height:].view(height // 2, width // 2, 2)), format="nv12", primary_ctx=False,
        current_ctx=True,
    )  # fmt: skip


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("codec", nvenc.ENCODERS)
def test_nvenc_writes_what_can_be_read(codec: str, on_device: bool, make_film: Make) -> None:
    import torch

    film = make_film(films.plain, "film.mp4", size=SIZE)
    info = probe(film.path)
    try:
        encoding = choose_encoding(info, *SIZE, codec, encoder="nvenc", device=0, on_device=on_device)
    except DeviceError as exc:
        pytest.skip(exc.message)
    path = film.path.with_name("out.mkv")
    plan = OutputPlan(path, plan_streams(info, ".mkv"), encoding, Window())
    ring = [torch.empty((SIZE[1] * 3 // 2, SIZE[0]), dtype=torch.uint8, device="cuda") for _ in range(32)]

    def pictures() -> Iterator[Picture]:
        for index, picture in enumerate(Reader(info).pictures()):
            frame = picture.frame
            made = to_cuda_frame(frame, ring, index) if on_device else frame.reformat(format=encoding.pix_fmt)
            yield replace(picture, frame=made)

    segments = encode_film(pictures(), SegmentGrid.of(info, Window()), encoding, film.path.parent, path)
    with Writer(info, plan) as writer:
        writer.join(segments)
        writer.finish()  # reads back: every frame, every time stamp, every packet of the sound
    _, source = read(film.path, "software")
    _, written = read(path, "software")
    for ours, theirs in zip(written, source, strict=True):
        error = np.mean((codes(ours.frame)[0] - codes(theirs.frame)[0]) ** 2)
        assert 10 * np.log10(255**2 / max(error, 1e-9)) > 35
