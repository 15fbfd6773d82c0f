"""Still pictures in and out: exact samples in every mode, metadata kept, broken files refused in words."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageCms, PngImagePlugin

from vsr.errors import OutputError, SourceError, UsageError, VerificationError, VsrError
from vsr.stills import Still, StillMetadata, check_output, is_still, png, read_still, reader, write_still, writer
from vsr.stills.exif import correct_exif, read_orientation

HEIGHT, WIDTH = 7, 13
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
needs_avif = pytest.mark.skipif(not reader.has_avif(), reason="this Pillow has no AVIF")


def make_samples(channels: int, bits: int, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.unsignedinteger]:
    """Noise that uses every bit of every sample."""
    dtype = np.uint8 if bits == 8 else np.uint16
    rng = np.random.default_rng(channels * bits)
    return rng.integers(0, 2**bits, (height, width, channels), dtype=dtype)


def make_still(channels: int, bits: int, *, alpha: bool, metadata: StillMetadata | None = None) -> Still:
    return Still(
        make_samples(channels, bits),
        make_samples(1, bits)[..., 0] if alpha else None,
        bits,
        metadata or StillMetadata(),
    )


def make_exif(orientation: int = 6, order: str = "<") -> bytes:
    """IFD 0 with orientation, image width and an Exif IFD that holds pixel size and a maker note of odd bytes."""
    mark = b"II*\0" if order == "<" else b"MM\0*"

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        packed = struct.pack(order + "H", value) + b"\0\0" if kind == 3 else struct.pack(order + "I", value)
        return struct.pack(order + "HHI", tag, kind, count) + packed

    first = struct.pack(order + "H", 3) + entry(0x100, 4, 1, WIDTH) + entry(0x112, 3, 1, orientation)
    first += entry(0x8769, 4, 1, 8 + 2 + 36 + 4) + b"\0\0\0\0"
    second = struct.pack(order + "H", 3) + entry(0x927C, 7, 9, 8 + 42 + 42)
    second += entry(0xA002, 3, 1, WIDTH) + entry(0xA003, 4, 1, HEIGHT) + b"\0\0\0\0"
    return mark + struct.pack(order + "I", 8) + first + second + b"makernote"


def decode_with_ffmpeg(path: Path) -> npt.NDArray[np.unsignedinteger]:
    """The samples of a PNG or TIFF as another decoder sees them: H,W,C."""
    context = av.CodecContext.create("png" if path.suffix == ".png" else "tiff", "r")
    frame = [*context.decode(av.Packet(path.read_bytes())), *context.decode(None)][0]
    names = {"gray": (1, "u1"), "ya8": (2, "u1"), "rgb24": (3, "u1"), "rgba": (4, "u1")}
    for order, mark in (("be", ">"), ("le", "<")):
        names |= {
            f"{name}{order}": (n, mark + "u2") for name, n in (("gray16", 1), ("ya16", 2), ("rgb48", 3), ("rgba64", 4))
        }
    channels, layout = names[frame.format.name]
    rows = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)
    samples = np.ascontiguousarray(rows[:, : frame.width * channels * np.dtype(layout).itemsize]).view(layout)
    return samples.reshape(frame.height, frame.width, channels)


def encode_png_with_ffmpeg(path: Path, samples: npt.NDArray[np.uint16], *, interlaced: bool = False) -> None:
    """A PNG of 16 bits from another encoder, with filters of every kind."""
    height, width, channels = samples.shape
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.time_base = width, height, Fraction(1)
    context.pix_fmt = ("gray16be", "ya16be", "rgb48be", "rgba64be")[channels - 1]
    context.options = {"pred": "mixed"}
    if interlaced:
        context.flags |= 1 << 18  # AV_CODEC_FLAG_INTERLACED_DCT, which means Adam7 to this encoder
    frame = av.VideoFrame(width, height, context.pix_fmt)
    rows = np.zeros((height, frame.planes[0].line_size), np.uint8)
    rows[:, : width * channels * 2] = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    frame.planes[0].update(rows)
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))


def pack_png(width: int, height: int, depth: int, color: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG built chunk by chunk; `rows` are its unfiltered rows, each with a zero in front."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return png.SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def pack_tiff(
    samples: npt.NDArray[np.uint16], order: str, *, tile: int = 0, planar: bool = False, **tags: int
) -> bytes:
    """A TIFF of 16 bits: deflate with predictor, in strips of three rows or in tiles, interleaved or plane by plane."""
    height, width, channels = samples.shape
    planes = [samples[..., n : n + 1] for n in range(channels)] if planar else [samples]
    blocks = []
    for plane in planes:
        step_y, step_x = (tile, tile) if tile else (3, width)
        for y in range(0, height, step_y):
            for x in range(0, width, step_x):
                block = plane[y : y + step_y, x : x + step_x]
                if tile:
                    block = np.pad(block, ((0, tile - block.shape[0]), (0, tile - block.shape[1]), (0, 0)))
                packed = np.diff(block, axis=1, prepend=np.zeros_like(block[:, :1])).astype(order + "u2")
                blocks.append(zlib.compress(packed.tobytes()))
    entries: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (height,), 258: (16,) * channels, 259: (8,), 262: (2 if channels > 2 else 1,),
        277: (channels,), 284: (2 if planar else 1,), 317: (2,),
    }  # fmt: skip
    if channels in (2, 4):
        entries[338] = (2,)
    entries |= {int(tag[1:]): (value,) for tag, value in tags.items()}
    starts = [8 + sum(map(len, blocks[:n])) for n in range(len(blocks))]
    sizes = tuple(map(len, blocks))
    entries |= {322: (tile,), 323: (tile,), 324: tuple(starts), 325: sizes} if tile else {
        273: tuple(starts), 278: (3,), 279: sizes
    }  # fmt: skip
    data = b"".join(blocks)
    data += b"\0" * (len(data) % 2)
    start, extra, records = 8 + len(data), b"", b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        place = packed if len(values) == 1 else struct.pack(order + "I", after + len(extra))
        records += struct.pack(order + "HHI", tag, 4, len(values)) + place
        extra += packed if len(values) > 1 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + data + struct.pack(order + "H", len(entries)) + records + b"\0\0\0\0" + extra


class TestRoundTrip:
    @pytest.mark.parametrize("suffix", [".png", ".tiff"])
    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("alpha", [False, True])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_every_sample_survives(self, tmp_path: Path, channels: int, alpha: bool, bits: int, suffix: str) -> None:
        still, path = make_still(channels, bits, alpha=alpha), tmp_path / f"a{suffix}"
        write_still(path, still)
        again = read_still(path)
        assert (again.bits, again.format) == (bits, "PNG" if suffix == ".png" else "TIFF")
        np.testing.assert_array_equal(again.pixels, still.pixels)
        if still.alpha is None:
            assert again.alpha is None
        else:
            np.testing.assert_array_equal(again.alpha, still.alpha)
        other = decode_with_ffmpeg(path)
        np.testing.assert_array_equal(other[..., :channels], still.pixels)
        if still.alpha is not None:
            np.testing.assert_array_equal(other[..., -1], still.alpha)

    @pytest.mark.parametrize(("suffix", "alpha"), [(".webp", True), (".webp", False), (".bmp", False)])
    def test_other_lossless_formats(self, tmp_path: Path, suffix: str, alpha: bool) -> None:
        still, path = make_still(3, 8, alpha=alpha), tmp_path / f"a{suffix}"
        write_still(path, still)
        again = read_still(path)
        visible = np.ones((HEIGHT, WIDTH), bool) if still.alpha is None else still.alpha > 0
        np.testing.assert_array_equal(again.pixels[visible], still.pixels[visible])
        assert (again.alpha is None) == (still.alpha is None)
        if still.alpha is not None:
            np.testing.assert_array_equal(again.alpha, still.alpha)

    @given(
        samples=arrays.arrays(
            st.sampled_from([np.uint8, np.uint16]),
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 4])),
        )
    )
    def test_any_size_in_png_and_tiff(self, tmp_path_factory: pytest.TempPathFactory, samples: np.ndarray) -> None:
        has_alpha = samples.shape[2] in (2, 4)
        still = Still(
            samples[..., :-1] if has_alpha else samples,
            samples[..., -1] if has_alpha else None,
            8 * samples.itemsize,
        )
        folder = tmp_path_factory.mktemp("any")
        for name in ("a.png", "a.tif"):
            write_still(folder / name, still)
            again = read_still(folder / name)
            np.testing.assert_array_equal(again.pixels, still.pixels)
            if has_alpha:
                np.testing.assert_array_equal(again.alpha, still.alpha)

    def test_pictures_of_several_bands_and_strips(self, tmp_path: Path) -> None:
        rows = 2 * 2**20 // (700 * 6) + 5  # more than two bands of one MiB
        ramp = np.arange(rows * 700 * 3, dtype=np.uint32).astype(np.uint16).reshape(rows, 700, 3)
        for name in ("a.png", "a.tif"):
            write_still(tmp_path / name, Still(ramp, None, 16))
            np.testing.assert_array_equal(decode_with_ffmpeg(tmp_path / name), ramp)

    def test_jpeg_keeps_full_chroma_and_high_quality(self, tmp_path: Path) -> None:
        y, x = np.mgrid[:32, :32]
        pixels = np.stack((x * 8, y * 8, (x + y) * 4), axis=2).astype(np.uint8)
        write_still(tmp_path / "a.jpg", Still(pixels))
        with Image.open(tmp_path / "a.jpg") as image:
            assert {component[1:3] for component in image.layer} == {(1, 1)}
            assert sum(image.quantization[0]) == writer._SUM_OF_TABLE_95
        assert np.abs(read_still(tmp_path / "a.jpg").pixels.astype(int) - pixels).max() <= 6

    def test_a_finer_jpeg_stays_as_fine(self, tmp_path: Path) -> None:
        Image.fromarray(make_samples(3, 8)).save(tmp_path / "a.jpg", quality=98, subsampling=0)
        write_still(tmp_path / "b.jpg", read_still(tmp_path / "a.jpg"))
        with Image.open(tmp_path / "a.jpg") as first, Image.open(tmp_path / "b.jpg") as second:
            assert first.quantization == second.quantization

    @needs_avif
    def test_avif(self, tmp_path: Path) -> None:
        flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
        write_still(tmp_path / "a.avif", Still(flat, np.full((16, 16), 128, np.uint8)))
        again = read_still(tmp_path / "a.avif")
        assert np.abs(again.pixels.astype(int) - flat).max() <= 3
        assert again.alpha is not None
        assert again.metadata.lossy

    def test_a_lossy_webp_stays_lossy_and_a_lossless_one_does_not(self, tmp_path: Path) -> None:
        for lossless in (True, False):
            Image.fromarray(make_samples(3, 8)).save(tmp_path / "a.webp", lossless=lossless)
            still = read_still(tmp_path / "a.webp")
            assert still.metadata.lossy is not lossless
            write_still(tmp_path / "b.webp", still, overwrite=True)
            assert (b"VP8L" in (tmp_path / "b.webp").read_bytes()) is lossless


class TestReading:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize("interlaced", [False, True])
    def test_16_bit_png_of_another_encoder(self, tmp_path: Path, channels: int, interlaced: bool) -> None:
        samples, path = make_samples(channels, 16), tmp_path / "a.png"
        encode_png_with_ffmpeg(path, samples, interlaced=interlaced)
        assert path.read_bytes()[28] == interlaced
        still = read_still(path)
        colours = samples[..., :-1] if channels in (2, 4) else samples
        assert still.bits == 16
        np.testing.assert_array_equal(still.pixels, colours)
        if channels in (2, 4):
            np.testing.assert_array_equal(still.alpha, samples[..., -1])

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize(("tile", "planar"), [(0, False), (16, False), (0, True), (16, True)])
    def test_16_bit_tiff_of_every_layout(
        self, tmp_path: Path, order: str, channels: int, tile: int, planar: bool
    ) -> None:
        samples = make_samples(channels, 16, 21, 37)
        (tmp_path / "a.tif").write_bytes(pack_tiff(samples, order, tile=tile, planar=planar))
        still = read_still(tmp_path / "a.tif")
        np.testing.assert_array_equal(still.pixels, samples[..., :-1] if channels in (2, 4) else samples)
        if channels in (2, 4):
            np.testing.assert_array_equal(still.alpha, samples[..., -1])

    def test_16_bit_tiff_with_lzw_of_another_encoder(self, tmp_path: Path) -> None:
        samples = make_samples(3, 16)
        context = av.CodecContext.create("tiff", "w")
        context.width, context.height, context.time_base, context.pix_fmt = WIDTH, HEIGHT, Fraction(1), "rgb48le"
        context.options = {"compression_algo": "lzw"}
        frame = av.VideoFrame.from_ndarray(samples, "rgb48le")
        (tmp_path / "a.tif").write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)]))
        np.testing.assert_array_equal(read_still(tmp_path / "a.tif").pixels, samples)

    def test_16_bit_tiff_white_is_zero(self, tmp_path: Path) -> None:
        samples = make_samples(1, 16)
        (tmp_path / "a.tif").write_bytes(pack_tiff(samples, "<", t262=0))
        np.testing.assert_array_equal(read_still(tmp_path / "a.tif").pixels, 65535 - samples)

    def test_16_bit_tiff_with_alpha_multiplied_in(self, tmp_path: Path) -> None:
        samples = np.array([[[10000, 20000, 30000, 40000], [5, 6, 7, 0]]], np.uint16)
        (tmp_path / "a.tif").write_bytes(pack_tiff(samples, "<", t338=1))
        still = read_still(tmp_path / "a.tif")
        np.testing.assert_array_equal(still.pixels[0, 0], np.rint(np.array([1, 2, 3]) * 10000 * 65535 / 40000))
        np.testing.assert_array_equal(still.alpha, [[40000, 0]])

    def test_one_bit_and_palette(self, tmp_path: Path) -> None:
        bits = (make_samples(1, 8)[..., 0] > 127).astype(np.uint8) * 255
        Image.fromarray(bits).convert("1").save(tmp_path / "bits.png")
        still = read_still(tmp_path / "bits.png")
        np.testing.assert_array_equal(still.pixels[..., 0], bits)
        image = Image.fromarray(make_samples(3, 8)).quantize(8)
        image.save(tmp_path / "palette.png", transparency=0)
        still = read_still(tmp_path / "palette.png")
        np.testing.assert_array_equal(still.pixels, np.asarray(image.convert("RGB")))
        np.testing.assert_array_equal(still.alpha, np.where(np.asarray(image) == 0, 0, 255))

    @pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
    def test_grey_that_stands_for_transparency(self, tmp_path: Path, depth: int) -> None:
        values = np.array([0, 1, 2**depth - 1, 1])
        if depth == 16:
            row = values.astype(">u2").tobytes()
        else:
            row = np.packbits((values[:, None] >> np.arange(depth)[::-1]) & 1).tobytes()
        (tmp_path / "a.png").write_bytes(pack_png(4, 1, depth, 0, b"\0" + row, (b"tRNS", struct.pack(">H", 1))))
        still = read_still(tmp_path / "a.png")
        most = 65535 if depth == 16 else 255
        np.testing.assert_array_equal(still.pixels.ravel(), values * (most // (2**depth - 1)))
        np.testing.assert_array_equal(still.alpha, [np.where(values == 1, 0, most)])

    def test_16_bit_colour_that_stands_for_transparency(self, tmp_path: Path) -> None:
        colours = np.array([[1, 2, 3], [1, 2, 4]], ">u2")  # equal but for the lower byte
        chunk = (b"tRNS", struct.pack(">HHH", 1, 2, 3))
        (tmp_path / "a.png").write_bytes(pack_png(2, 1, 16, 2, b"\0" + colours.tobytes(), chunk))
        still = read_still(tmp_path / "a.png")
        np.testing.assert_array_equal(still.pixels[0], colours)
        np.testing.assert_array_equal(still.alpha, [[0, 65535]])

    def test_cmyk_is_converted_and_said(self, tmp_path: Path) -> None:
        Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
        still = read_still(tmp_path / "a.jpg")
        assert still.pixels.shape == (16, 16, 3)
        assert still.pixels[8, 8, 0] > 200 > 60 > still.pixels[8, 8, 1]
        assert "CMYK" in still.warnings[0]

    def test_the_content_counts_not_the_name(self, tmp_path: Path) -> None:
        Image.fromarray(make_samples(3, 8)).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / "a.jpg")
        assert read_still(tmp_path / "a.jpg").format == "PNG"


class TestMetadata:
    def metadata(self) -> StillMetadata:
        return StillMetadata(exif=make_exif(), icc=ICC, xmp=XMP, dpi=(300.0, 150.0))

    @pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", pytest.param(".avif", marks=needs_avif)])
    def test_all_is_kept(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        write_still(path, make_still(3, 8, alpha=False, metadata=self.metadata()))
        metadata = read_still(path).metadata
        assert metadata.orientation == 6
        assert (metadata.icc, metadata.xmp) == (ICC, XMP)
        if suffix in (".jpg", ".tif"):
            assert metadata.dpi == (300.0, 150.0)
        if suffix in (".jpg", ".webp"):
            assert metadata.exif == make_exif()

    @pytest.mark.parametrize("bits", [8, 16])
    def test_all_is_kept_in_png(self, tmp_path: Path, bits: int) -> None:
        write_still(tmp_path / "a.png", make_still(3, bits, alpha=False, metadata=self.metadata()))
        metadata = read_still(tmp_path / "a.png").metadata
        assert (metadata.exif, metadata.icc, metadata.xmp) == (make_exif(), ICC, XMP)
        assert metadata.dpi == pytest.approx((300, 150), abs=0.02)
        with Image.open(tmp_path / "a.png") as image:
            image.load()
            assert image.info["icc_profile"] == ICC
            assert image.getexif()[0x112] == 6
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
            assert image.info["xmp"] == XMP

    def test_png_chunks_on_colour_and_text_stay(self, tmp_path: Path) -> None:
        text = PngImagePlugin.PngInfo()
        text.add_text("Title", "before", zip=True)
        text.add(b"gAMA", struct.pack(">I", 100000))
        text.add_itxt("Author", "after", "de", "Autor")
        Image.fromarray(make_samples(3, 8)).save(tmp_path / "a.png", pnginfo=text)
        still = read_still(tmp_path / "a.png")
        write_still(tmp_path / "b.png", still)
        with Image.open(tmp_path / "b.png") as image:
            assert image.text == {"Title": "before", "Author": "after"}
            assert image.info["gamma"] == pytest.approx(1)
        assert any("gAMA" in note for note in check_output(tmp_path / "b.jpg", still, WIDTH, HEIGHT))

    def test_png_metadata_behind_the_pixels(self, tmp_path: Path) -> None:
        data = pack_png(1, 1, 16, 2, bytes(7))
        chunk = b"eXIf" + make_exif()
        chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        (tmp_path / "a.png").write_bytes(data[:-12] + chunk + data[-12:])
        assert read_still(tmp_path / "a.png").metadata.exif == make_exif()

    def test_photoshop_resources_travel_between_jpeg_and_tiff(self, tmp_path: Path) -> None:
        resources = b"8BIM\x04\x04\0\0\0\0\0\x04abcd" * 8000  # more than one JPEG segment holds
        metadata = StillMetadata(photoshop=resources, comment=b"hello")
        write_still(tmp_path / "a.jpg", make_still(3, 8, alpha=False, metadata=metadata))
        still = read_still(tmp_path / "a.jpg")
        assert (still.metadata.photoshop, still.metadata.comment) == (resources, b"hello")
        write_still(tmp_path / "a.tif", still)
        assert read_still(tmp_path / "a.tif").metadata.photoshop == resources
        assert any("IPTC" in note for note in check_output(tmp_path / "a.png", still, WIDTH, HEIGHT))

    def test_exif_of_a_tiff_keeps_its_directories(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x10F], exif[0x112] = "Maker", 3
        exif.get_ifd(0x8769)[0x829A] = 0.25
        exif.get_ifd(0x8825)[1] = "N"
        Image.fromarray(make_samples(3, 8)).save(tmp_path / "a.jpg", exif=exif)
        write_still(tmp_path / "a.tif", read_still(tmp_path / "a.jpg"))
        write_still(tmp_path / "b.tif", read_still(tmp_path / "a.tif"))
        write_still(tmp_path / "c.jpg", read_still(tmp_path / "b.tif"))
        for name in ("b.tif", "c.jpg"):
            with Image.open(tmp_path / name) as image:
                kept = image.getexif()
                assert (kept[0x10F], kept[0x112]) == ("Maker", 3)
                assert kept.get_ifd(0x8769)[0x829A] == 0.25
                assert kept.get_ifd(0x8825)[1] == "N"

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", [".png", ".bmp"])
    def test_where_the_tag_cannot_stay_the_pixels_turn(self, tmp_path: Path, orientation: int, suffix: str) -> None:
        pixels = make_samples(3, 8)
        shown = Image.fromarray(pixels)
        shown.getexif()[0x112] = orientation
        metadata = StillMetadata(exif=make_exif(orientation), xmp=XMP, dpi=(300.0, 150.0))
        still = Still(pixels, None, 8, metadata, "JPEG")
        written = write_still(tmp_path / f"a{suffix}", still)
        again = read_still(tmp_path / f"a{suffix}")
        turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation]  # Image.Transpose of exif_transpose
        expected = np.asarray(shown if turned is None else shown.transpose(Image.Transpose(turned)))
        np.testing.assert_array_equal(again.pixels, expected)
        assert (written.width, written.height) == (again.width, again.height)
        assert again.metadata.orientation == 1
        if suffix == ".png" and orientation > 4:
            assert again.metadata.dpi == pytest.approx((150, 300), abs=0.02)
            assert b'Orientation="1"' in (again.metadata.xmp or b"")

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("bits", [8, 16])
    def test_a_tiff_stays_as_stored(self, tmp_path: Path, bits: int, orientation: int) -> None:
        still = make_still(3, bits, alpha=True, metadata=StillMetadata(exif=make_exif(orientation)))
        write_still(tmp_path / "a.tif", still)
        again = read_still(tmp_path / "a.tif")
        assert again.metadata.orientation == orientation
        np.testing.assert_array_equal(again.pixels, still.pixels)
        np.testing.assert_array_equal(again.alpha, still.alpha)

    def test_a_png_with_an_orientation_stays_as_stored(self, tmp_path: Path) -> None:
        still = make_still(3, 8, alpha=True, metadata=StillMetadata(exif=make_exif(6)))
        write_still(tmp_path / "a.png", still)
        again = read_still(tmp_path / "a.png")
        assert again.metadata.orientation == 6
        np.testing.assert_array_equal(again.pixels, still.pixels)


class TestExif:
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_values_change_in_place(self, order: str) -> None:
        exif = make_exif(6, order)
        corrected = correct_exif(exif, width=70_000, height=5, orientation=1)
        assert len(corrected) == len(exif)
        assert corrected.endswith(b"makernote")
        assert read_orientation(corrected) == 1
        parsed = Image.Exif()
        parsed.load(corrected)
        assert parsed[0x100] == 70_000
        assert parsed.get_ifd(0x8769)[0xA003] == 5
        assert parsed.get_ifd(0x8769)[0xA002] == WIDTH  # a 16-bit field cannot hold 70,000

    @given(st.binary(max_size=200), st.booleans())
    def test_nothing_hostile_hurts(self, rest: bytes, little: bool) -> None:
        exif = (b"II*\0" if little else b"MM\0*") + rest
        assert 1 <= read_orientation(exif) <= 8
        assert len(correct_exif(exif, width=9, height=9, orientation=1)) == len(exif)


class TestRefusals:
    def refuse(self, path: Path, words: str) -> None:
        with pytest.raises(SourceError, match=words) as caught:
            read_still(path)
        assert str(path) in caught.value.message

    def test_missing_empty_folder_and_text(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        (tmp_path / "text.png").write_text("no picture")
        self.refuse(tmp_path / "none.png", "no such file")
        self.refuse(tmp_path, "cannot be read")
        self.refuse(tmp_path / "empty.png", "empty")
        self.refuse(tmp_path / "text.png", "not a picture")

    @pytest.mark.parametrize(
        "suffix", [".png", ".tif", ".jpg", ".webp", ".bmp", pytest.param(".avif", marks=needs_avif)]
    )
    def test_a_cut_file_never_reads(self, tmp_path: Path, suffix: str) -> None:
        whole = tmp_path / f"whole{suffix}"
        write_still(whole, Still(make_samples(3, 8, 40, 40)))
        data = whole.read_bytes()
        for size in {*range(1, len(data) - 40, max(1, len(data) // 23))}:
            path = tmp_path / f"cut{suffix}"
            path.write_bytes(data[:size])
            with pytest.raises(SourceError):
                read_still(path)

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_a_cut_16_bit_file_never_reads(self, tmp_path: Path, name: str) -> None:
        write_still(tmp_path / name, Still(make_samples(3, 16, 30, 30), None, 16))
        data = (tmp_path / name).read_bytes()
        for size in range(1, len(data) - 20, len(data) // 29):
            (tmp_path / name).write_bytes(data[:size])
            with pytest.raises(SourceError):
                read_still(tmp_path / name)

    @given(
        seed=st.integers(0, 2**32),
        name=st.sampled_from(["a.png", "a.tif", "a.jpg", "a.webp", "a.bmp"]),
        deep=st.booleans(),
    )
    def test_damage_is_survived(
        self, tmp_path_factory: pytest.TempPathFactory, seed: int, name: str, deep: bool
    ) -> None:
        rng = np.random.default_rng(seed)
        path = tmp_path_factory.mktemp("damage") / name
        bits = 16 if deep else 8
        write_still(path, make_still(3, bits, alpha=False, metadata=StillMetadata(exif=make_exif(), icc=ICC, xmp=XMP)))
        data = bytearray(path.read_bytes())
        for position in rng.integers(0, len(data), 5):
            data[position] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            still = read_still(path)
        except SourceError:
            return
        assert still.pixels.size > 0

    @pytest.mark.parametrize("suffix", [".png", ".webp"])
    def test_animations(self, tmp_path: Path, suffix: str) -> None:
        frames = [Image.fromarray(make_samples(3, 8)), Image.new("RGB", (WIDTH, HEIGHT))]
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
        self.refuse(tmp_path / f"a{suffix}", "animation of 2 frames")

    def test_a_gif_is_a_film(self, tmp_path: Path) -> None:
        Image.new("RGB", (4, 4)).save(tmp_path / "a.png", "GIF")
        self.refuse(tmp_path / "a.png", "GIF is a film")

    def test_pages_but_not_thumbnails(self, tmp_path: Path) -> None:
        first, second = Image.fromarray(make_samples(3, 8)), Image.new("L", (3, 3))
        first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
        self.refuse(tmp_path / "two.tif", "2 pages")
        second.encoderinfo = {"tiffinfo": {254: 1}}
        first.save(tmp_path / "thumb.tif", save_all=True, append_images=[second])
        np.testing.assert_array_equal(read_still(tmp_path / "thumb.tif").pixels, np.asarray(first))

    def test_float_samples(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "a.tif")
        self.refuse(tmp_path / "a.tif", "mode F")

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
    def test_absurd_sizes_cost_nothing(self, tmp_path: Path, name: str) -> None:
        if name == "a.png":
            data = pack_png(2**30, 2**30, 8, 2, b"")
        elif name == "a.tif":
            data = pack_tiff(make_samples(3, 16), "<", t256=2**20, t257=2**20)
        else:
            data = b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**20, 2**20, 1, 24, 0, 0, 0, 0, 0, 0)
        (tmp_path / name).write_bytes(data)
        self.refuse(tmp_path / name, "more than vsr takes")

    def test_pillow_keeps_its_own_limit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        write_still(tmp_path / "a.png", make_still(3, 8, alpha=False))
        assert read_still(tmp_path / "a.png").width == WIDTH
        assert Image.MAX_IMAGE_PIXELS == 10

    def test_metadata_bombs_stay_packed(self, tmp_path: Path) -> None:
        bomb = b"name\0\0" + zlib.compress(bytes(1 << 27))
        (tmp_path / "a.png").write_bytes(pack_png(1, 1, 16, 0, b"\0\0\7", (b"iCCP", bomb)))
        with (tmp_path / "a.png").open("rb") as file:
            assert png.read_metadata(file).icc is None

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
    def test_no_permission(self, tmp_path: Path) -> None:
        write_still(tmp_path / "a.png", make_still(3, 8, alpha=False))
        (tmp_path / "a.png").chmod(0)
        self.refuse(tmp_path / "a.png", "Permission denied")


class TestWriting:
    def test_unknown_kinds(self, tmp_path: Path) -> None:
        for name in ("a.gif", "a.heic", "a.mp4", "a"):
            with pytest.raises(UsageError, match="does not write"):
                write_still(tmp_path / name, make_still(3, 8, alpha=False))

    def test_an_existing_file_stays(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"mine")
        with pytest.raises(OutputError, match="already exists"):
            write_still(tmp_path / "a.png", make_still(3, 8, alpha=False))
        assert (tmp_path / "a.png").read_bytes() == b"mine"
        write_still(tmp_path / "a.png", make_still(3, 8, alpha=False), overwrite=True)
        assert read_still(tmp_path / "a.png").width == WIDTH

    def test_alpha_is_not_lost_in_silence(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="no transparency"):
            write_still(tmp_path / "a.jpg", make_still(3, 8, alpha=True))
        opaque = Still(make_samples(3, 8), np.full((HEIGHT, WIDTH), 255, np.uint8))
        write_still(tmp_path / "a.jpg", opaque)
        assert read_still(tmp_path / "a.jpg").alpha is None

    def test_16_bits_become_8_rounded_and_said(self, tmp_path: Path) -> None:
        still = make_still(3, 16, alpha=False)
        assert "16 bits" in check_output(tmp_path / "a.bmp", still, WIDTH, HEIGHT)[0]
        write_still(tmp_path / "a.bmp", still)
        np.testing.assert_array_equal(read_still(tmp_path / "a.bmp").pixels, np.rint(still.pixels / 257.0))

    @pytest.mark.parametrize(
        ("name", "width", "height"), [("a.webp", 16384, 1), ("a.jpg", 1, 65536), ("a.png", 2**16, 2**15)]
    )
    def test_sizes_are_checked_before_the_work(self, tmp_path: Path, name: str, width: int, height: int) -> None:
        with pytest.raises(OutputError, match=f"{width}x{height}"):
            check_output(tmp_path / name, make_still(3, 8, alpha=False), width, height)

    @pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    def test_a_failure_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
    ) -> None:
        def fail(_: int) -> None:
            raise failure

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OutputError if isinstance(failure, OSError) else KeyboardInterrupt):
            write_still(tmp_path / "a.png", make_still(3, 8, alpha=False))
        assert list(tmp_path.iterdir()) == []

    def test_what_does_not_read_back_is_no_output(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def write_half(file: io.BufferedWriter, still: Still) -> None:
            buffer = io.BytesIO()
            png.write(buffer, still.pixels, still.alpha, still.metadata)
            file.write(buffer.getvalue()[: len(buffer.getvalue()) // 2])

        monkeypatch.setitem(writer._WRITERS, "PNG", write_half)
        with pytest.raises(VerificationError):
            write_still(tmp_path / "a.png", make_still(3, 8, alpha=False))
        assert list(tmp_path.iterdir()) == []

    def test_what_appeared_meanwhile_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.png"
        monkeypatch.setattr(os, "fsync", lambda _: path.write_bytes(b"mine"))
        with pytest.raises(OutputError, match="meanwhile"):
            write_still(path, make_still(3, 8, alpha=False))
        assert path.read_bytes() == b"mine"
        write_still(path, make_still(3, 8, alpha=False), overwrite=True)
        assert read_still(path).width == WIDTH
        assert [file.name for file in tmp_path.iterdir()] == ["a.png"]

    @pytest.mark.skipif(os.name == "nt", reason="POSIX processes")
    def test_what_a_killed_run_left_is_removed(self, tmp_path: Path) -> None:
        code = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "import numpy as np\n"
            "from vsr.stills import Still, write_still\n"
            "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
            "write_still(Path(sys.argv[1]), Still(np.zeros((2, 2, 3), np.uint8)))\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL
        assert len(list(tmp_path.iterdir())) == 1
        write_still(tmp_path / "a.png", make_still(3, 8, alpha=False))
        assert [file.name for file in tmp_path.iterdir()] == ["a.png"]

    @pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
    def test_the_file_has_the_usual_permissions(self, tmp_path: Path) -> None:
        write_still(tmp_path / "a.png", make_still(3, 8, alpha=False))
        (tmp_path / "plain").touch()
        assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


class TestIsStill:
    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("a.png", b"", True),
            ("a.JPG", b"", True),
            ("a.heic", b"", True),
            ("a.mp4", b"", False),
            ("a.gif", b"GIF89a", False),
            ("a.png", b"GIF89a", False),
            ("a", png.SIGNATURE, True),
            ("a.mp4", b"\0\0\0\x20ftypisom\0\0\0\0isomiso2avc1mp41", False),
            ("a.bin", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", True),
            ("a.nef", b"II*\0", False),
            ("a.tif", b"II*\0", True),
            ("a.mjpeg", b"\xff\xd8\xff", False),
            ("a.txt", b"BM is no picture", False),
        ],
    )
    def test_by_content_and_name(self, tmp_path: Path, name: str, content: bytes, expected: bool) -> None:
        (tmp_path / name).write_bytes(content)
        assert is_still(tmp_path / name) is expected

    def test_what_is_not_there_goes_by_its_name(self, tmp_path: Path) -> None:
        assert is_still(tmp_path / "none.png")
        assert not is_still(tmp_path / "none.mkv")
        (tmp_path / "folder.png").mkdir()
        assert not is_still(tmp_path / "folder.png")


class TestMaterial:
    def test_every_awkward_picture_is_read_or_refused_in_words(self, material: Path, tmp_path: Path) -> None:
        paths = [path for folder in ("edge", "real") for path in sorted((material / "images" / folder).iterdir())]
        refused = []
        for path in paths:
            assert is_still(path), path
            try:
                still = read_still(path)
                write_still(tmp_path / path.name, still)
            except VsrError as error:
                assert str(path) in error.message  # noqa: PT017
                refused.append(path.name)
                continue
            again = read_still(tmp_path / path.name)
            assert again.metadata.orientation == still.metadata.orientation
            assert (again.metadata.icc, again.metadata.xmp) == (still.metadata.icc, still.metadata.xmp)
            if not still.metadata.lossy:
                np.testing.assert_array_equal(again.pixels, still.pixels)
        assert len(paths) >= 18
        no_avif = set() if reader.has_avif() else {"gradient_12bit.avif"}
        assert {"sigsegv.png"} <= set(refused) <= {"sigsegv.png", "animated.heic", "gradient_rotated.heic", *no_avif}

    def test_what_is_known_of_some(self, material: Path) -> None:
        edge = material / "images" / "edge"
        assert read_still(edge / "portrait-orientation-6.jpg").metadata.orientation == 6
        assert read_still(edge / "grayscale_alpha.png").alpha is not None
        assert read_still(edge / "grayscale.png").pixels.shape == (720, 1280, 1)
        if reader.has_avif():
            assert "more than 8 bits" in read_still(edge / "gradient_12bit.avif").warnings[0]
        assert "CMYK" in read_still(edge / "cmyk.jpg").warnings[0]


def test_reader_and_writer_share_one_limit() -> None:
    assert reader.MAX_PIXELS == writer.MAX_PIXELS


def test_threads_decode_side_by_side_and_leave_pillow_as_it_was(tmp_path: Path):
    """Two pictures are read at once, neither waits for the other; the limit and the warnings come back at the end."""
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    inside = threading.Barrier(2, timeout=20)

    def read(name: str) -> tuple[int, ...]:
        with reader.without_pillow_limits():
            inside.wait()
            assert Image.MAX_IMAGE_PIXELS is None
            return read_still(tmp_path / f"{name}.png").pixels.shape

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(read, "ab")) == [(8, 8, 3)] * 2
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == (limit, filters)
