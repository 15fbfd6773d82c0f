"""A still picture's journey: exact where it must be, no fringes, no half files; and the names on the way."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from vsr.errors import Interrupted, OutputError, ProcessingError, SourceError, UsageError, VsrError
from vsr.model import precision
from vsr.model.loading import load_model
from vsr.model.upscaler import Upscaler
from vsr.pipeline.stills import (
    _natural_key,
    fill_transparent,
    list_stills,
    output_path_for,
    output_path_in,
    upscale_pixels,
    upscale_still,
)
from vsr.stills import Still, StillMetadata, read_still, write_still


class Enlarger:
    """Stands in for vsr.model.upscaler.Upscaler: torch's interpolation, with the calls counted."""

    def __init__(self, scale: float = 2, mode: str = "nearest-exact", tint: float = 0.0) -> None:
        self.scale, self.mode, self.tint = scale, mode, tint
        self.seen: list[Tensor] = []

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        return max(1, int(height * self.scale + 0.5)), max(1, int(width * self.scale + 0.5))

    def __call__(self, frames_BCHW: Tensor) -> Tensor:
        assert frames_BCHW.shape[1] == 3
        assert frames_BCHW.is_floating_point()
        self.seen.append(frames_BCHW)
        size = self.output_size(*frames_BCHW.shape[2:])
        larger_BCHW = F.interpolate(frames_BCHW, size=size, mode=self.mode)
        return (larger_BCHW + self.tint * torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)).clamp(0, 1)


class Failing(Enlarger):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def __call__(self, frames_BCHW: Tensor) -> Tensor:
        raise self.error


def make_still(channels: int = 3, bits: int = 8, *, alpha: bool = False, **details: object) -> Still:
    rng = np.random.default_rng(bits + channels)
    dtype = np.uint8 if bits == 8 else np.uint16
    pixels = rng.integers(0, 2**bits, (5, 9, channels), dtype=dtype)
    return Still(
        pixels,
        rng.integers(0, 2**bits, (5, 9), dtype=dtype) if alpha else None,
        bits,
        **details,  # type: ignore[arg-type]
    )


def repeat(samples: np.ndarray, times: int) -> np.ndarray:
    return samples.repeat(times, axis=0).repeat(times, axis=1)


class TestPixels:
    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_every_value_passes_exactly(self, bits: int, channels: int) -> None:
        values = np.arange(2**bits, dtype=np.uint8 if bits == 8 else np.uint16).reshape(16, -1, 1)
        pixels = np.concatenate([np.roll(values, n) for n in range(channels)], axis=2)
        larger = upscale_pixels(Still(pixels, None, bits), Enlarger(2))
        np.testing.assert_array_equal(larger.pixels, repeat(pixels, 2))
        assert (larger.bits, larger.alpha) == (bits, None)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_what_has_no_colour_gets_none(self, channels: int) -> None:
        grey = make_still(1).pixels.clip(60, 190)
        larger = upscale_pixels(Still(grey.repeat(channels, axis=2)), Enlarger(2, tint=0.1))
        assert larger.pixels.shape[2] == channels
        np.testing.assert_array_equal(larger.pixels, repeat(grey, 2).repeat(channels, axis=2))

    def test_what_has_colour_keeps_the_networks(self) -> None:
        pixels = make_still(3).pixels.clip(60, 190)
        larger = upscale_pixels(Still(pixels), Enlarger(1, tint=0.1))
        np.testing.assert_allclose(
            larger.pixels.astype(int) - pixels, np.broadcast_to([25.5, 0, -25.5], (5, 9, 3)), atol=0.5
        )

    def test_the_network_sees_0_to_1_in_three_channels(self) -> None:
        enlarger = Enlarger()
        upscale_pixels(Still(np.array([[[0], [32768], [65535]]], np.uint16), None, 16), enlarger)
        seen = enlarger.seen[0]
        assert seen.dtype == torch.float32
        assert seen.tolist() == [[[[0.0, pytest.approx(32768 / 65535), 1.0]]] * 3]

    def test_metadata_goes_along(self) -> None:
        still = make_still(metadata=StillMetadata(xmp=b"x", dpi=(1.0, 2.0)), format="JPEG")
        larger = upscale_pixels(still, Enlarger())
        assert (larger.metadata, larger.format) == (still.metadata, "JPEG")


class TestAlpha:
    def test_opaque_alpha_costs_no_pass_and_stays_opaque(self) -> None:
        enlarger = Enlarger(1.5, "bicubic")
        larger = upscale_pixels(Still(make_still().pixels, np.full((5, 9), 255, np.uint8)), enlarger)
        assert len(enlarger.seen) == 1
        assert larger.alpha is not None
        assert larger.alpha.shape == larger.pixels.shape[:2] == (8, 14)
        assert (larger.alpha == 255).all()

    @pytest.mark.parametrize("bits", [8, 16])
    def test_no_fringe(self, bits: int) -> None:
        """A white disc on nothing, stored with black under the nothing: no visible pixel may turn dark."""
        most = 2**bits - 1
        y, x = np.mgrid[:24, :24]
        inside = (x - 11.5) ** 2 + (y - 11.5) ** 2 < 64
        dtype = np.uint8 if bits == 8 else np.uint16
        alpha = np.where(inside, most, 0).astype(dtype)
        larger = upscale_pixels(Still(alpha[..., None].repeat(3, axis=2), alpha, bits), Enlarger(4, "bicubic"))
        assert larger.alpha is not None
        assert larger.pixels[larger.alpha > 0].min() >= most - 1

    def test_flat_alpha_stays_flat_whatever_rings(self) -> None:
        alpha = np.zeros((16, 16), np.uint8)
        alpha[:, 8:] = 255
        still = Still(np.zeros((16, 16, 3), np.uint8), alpha)
        larger = upscale_pixels(still, Enlarger(4, "bicubic", tint=0.0)).alpha
        assert larger is not None
        assert (larger[:, :28] == 0).all()
        assert (larger[:, 36:] == 255).all()
        assert len(np.unique(larger[:, 28:36])) > 2

    @given(height=st.integers(1, 17), width=st.integers(1, 17), seed=st.integers(0, 1000))
    def test_filling_touches_nothing_visible_and_leaves_nothing_outside_the_colours(
        self, height: int, width: int, seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        colours = torch.rand(1, 3, height, width, generator=generator) * 0.5 + 0.25
        alpha = torch.rand(1, 1, height, width, generator=generator)
        alpha = torch.where(alpha < 0.6, 0.0, alpha)
        hidden = (alpha == 0).expand_as(colours)
        filled = fill_transparent(torch.where(hidden, 9.0, colours), alpha)
        assert torch.equal(filled[~hidden], colours[~hidden])
        if not hidden.all():
            visible = colours[~hidden]
            assert visible.min() - 1e-5 <= filled.min()
            assert filled.max() <= visible.max() + 1e-5

    def test_wholly_transparent(self) -> None:
        larger = upscale_pixels(Still(make_still().pixels, np.zeros((5, 9), np.uint8)), Enlarger())
        assert larger.alpha is not None
        assert (larger.alpha == 0).all()


class TestJourney:
    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize(("source", "output"), [("a.png", "b.png"), ("a.tif", "b.png"), ("a.png", "b.tiff")])
    def test_from_file_to_file(self, tmp_path: Path, source: str, output: str, bits: int) -> None:
        still = make_still(3, bits, metadata=StillMetadata(icc=b"profile", dpi=(72.0, 72.0)))
        write_still(tmp_path / source, still)
        report = upscale_still(tmp_path / source, tmp_path / output, Enlarger(3))
        again = read_still(tmp_path / output)
        np.testing.assert_array_equal(again.pixels, repeat(still.pixels, 3))
        assert again.metadata.icc == b"profile"
        assert (report.width_in, report.height_in, report.width_out, report.height_out) == (9, 5, 27, 15)
        assert (report.bits, report.warnings, report.output) == (bits, (), tmp_path / output)
        assert report.format == again.format
        assert report.seconds > 0
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted({source, output})

    def test_the_report_speaks_of_the_file_that_was_written(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x112] = 6
        Image.new("CMYK", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
        report = upscale_still(tmp_path / "a.jpg", tmp_path / "b.png", Enlarger(2))
        assert (report.width_out, report.height_out, report.format) == (8, 16, "PNG")
        assert any("CMYK" in note for note in report.warnings)

    def test_the_folder_is_made(self, tmp_path: Path) -> None:
        write_still(tmp_path / "a.png", make_still())
        upscale_still(tmp_path / "a.png", tmp_path / "x" / "y" / "a.png", Enlarger())
        assert read_still(tmp_path / "x" / "y" / "a.png").width == 18

    def test_refusals_come_before_the_work(self, tmp_path: Path) -> None:
        write_still(tmp_path / "a.png", make_still(alpha=True))
        (tmp_path / "there.png").write_bytes(b"mine")
        (tmp_path / "folder.png").mkdir()
        (tmp_path / "link.png").symlink_to("a.png")
        enlarger = Enlarger()
        for name, error, words in (
            ("a.png", OutputError, "overwrite the input"),
            ("link.png", OutputError, "overwrite the input"),
            ("there.png", OutputError, "already exists"),
            ("folder.png", OutputError, "is a folder"),
            ("a.png/b.png", OutputError, "nothing can be written"),
            ("b.jpg", OutputError, "no transparency"),
            ("b.gif", UsageError, "does not write"),
        ):
            with pytest.raises(error, match=words):
                upscale_still(tmp_path / "a.png", tmp_path / name, enlarger)
        with pytest.raises(SourceError, match="no such file"):
            upscale_still(tmp_path / "none.png", tmp_path / "b.png", enlarger)
        with pytest.raises(OutputError, match="pixels are more"):
            upscale_still(tmp_path / "a.png", tmp_path / "b.png", Enlarger(10_000))
        assert enlarger.seen == []
        assert (tmp_path / "there.png").read_bytes() == b"mine"
        upscale_still(tmp_path / "a.png", tmp_path / "there.png", enlarger, overwrite=True)
        assert read_still(tmp_path / "there.png").width == 18

    def test_a_scale_that_is_not_the_networks_is_said(self, tmp_path: Path) -> None:
        write_still(tmp_path / "a.png", make_still())
        network = load_model("fast")
        for scale, notes in ((4, ()), (2.5, ("fast enlarges 4 times; resampled to 2.5 times after it",))):
            report = upscale_still(tmp_path / "a.png", tmp_path / f"{scale}.png", Upscaler(network, scale=scale))
            assert report.warnings == notes

    def test_16_bits_go_through_the_network_in_full_precision(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(precision, "has_native_bf16", lambda: True)
        gradient = np.linspace(0, 65535, 24 * 36 * 3).astype(np.uint16).reshape(24, 36, 3)
        write_still(tmp_path / "deep.png", Still(gradient, None, 16))
        write_still(tmp_path / "flat.png", make_still(3, 8))
        network, pixels = load_model("fast"), {}
        for name in ("auto", "fp32", "bf16"):
            upscaler = Upscaler(network, device="cpu", precision=name)
            report = upscale_still(tmp_path / "deep.png", tmp_path / f"{name}.png", upscaler)
            assert report.precision == ("bf16" if name == "bf16" else "fp32")
            pixels[name] = read_still(tmp_path / f"{name}.png").pixels
        np.testing.assert_array_equal(pixels["auto"], pixels["fp32"])
        assert (pixels["bf16"] != pixels["fp32"]).any()
        automatic = Upscaler(network, device="cpu")
        assert upscale_still(tmp_path / "flat.png", tmp_path / "flat4.png", automatic).precision == "bf16"

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
    def test_a_folder_that_takes_nothing(self, tmp_path: Path) -> None:
        write_still(tmp_path / "a.png", make_still())
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(OutputError, match="nothing can be written"):
            upscale_still(tmp_path / "a.png", tmp_path / "closed" / "a.png", Enlarger())

    @pytest.mark.parametrize(
        ("failure", "expected"),
        [
            (Interrupted("stopped"), Interrupted),
            (ProcessingError("the network gave up", hint="try again"), ProcessingError),
            (MemoryError(), ProcessingError),
        ],
    )
    def test_a_failure_names_the_file_and_leaves_nothing(
        self, tmp_path: Path, failure: BaseException, expected: type[BaseException]
    ) -> None:
        write_still(tmp_path / "a.png", make_still())
        with pytest.raises(expected) as caught:
            upscale_still(tmp_path / "a.png", tmp_path / "new" / "b.png", Failing(failure))
        if isinstance(caught.value, ProcessingError):
            assert "a.png" in caught.value.message
            assert caught.value.hint
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


class TestNames:
    @pytest.mark.parametrize(
        ("source", "scale", "output", "expected"),
        [
            ("photo.png", 4.0, None, "photo_x4.png"),
            ("photo.JPG", 2, None, "photo_x2.JPG"),
            ("photo.png", 1.5, None, "photo_x1.5.png"),
            ("a.b.heic", 4, None, "a.b_x4.png"),
            ("photo.png", 4, "other.tiff", "other.tiff"),
            ("photo.png", 4, "there", "there/photo_x4.png"),
            ("photo.png", 4, "new/", "new/photo_x4.png"),
            ("there", 4, None, "there_x4"),
            ("there/", 2.5, None, "there_x2.5"),
            ("there", 4, "new", "new"),
        ],
    )
    def test_output_path_for(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        source: str,
        scale: float,
        output: str | None,
        expected: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("there").mkdir()
        assert output_path_for(source, scale, output).absolute() == tmp_path / expected

    def test_the_folder_one_stands_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "pictures").mkdir()
        monkeypatch.chdir(tmp_path / "pictures")
        assert output_path_for(".", 4) == (tmp_path / "pictures_x4").resolve()

    def test_output_path_in(self) -> None:
        assert output_path_in("out", "in/photo.png") == Path("out/photo.png")
        assert output_path_in("out", "in/photo.heic") == Path("out/photo.heic.png")


class TestList:
    def test_natural_order_and_the_rest(self, tmp_path: Path) -> None:
        for name in ("10.png", "2.png", "a10b.jpg", "A9b.jpg", "1.PNG", "clip.mp4", "note.txt", ".hidden.png", "x.gif"):
            (tmp_path / name).touch()
        (tmp_path / "inner").mkdir()
        stills, others = list_stills(tmp_path)
        assert [path.name for path in stills] == ["1.PNG", "2.png", "10.png", "A9b.jpg", "a10b.jpg"]
        assert [path.name for path in others] == ["clip.mp4", "inner", "note.txt", "x.gif"]

    @given(st.lists(st.text("ab0129٣²._ ", min_size=1, max_size=8), unique=True))
    def test_any_names_can_be_sorted(self, names: list[str]) -> None:
        paths = [Path(f"x{name}") for name in names]
        backwards = paths[::-1]
        assert sorted(paths, key=_natural_key) == sorted(backwards, key=_natural_key)

    def test_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SourceError, match="not a folder"):
            list_stills(tmp_path / "file")
        with pytest.raises(SourceError, match="cannot be read"):
            list_stills(tmp_path / "none")


class TestMaterial:
    def test_every_awkward_picture_comes_through_or_is_refused(self, material: Path, tmp_path: Path) -> None:
        num_done = 0
        for folder in ("edge", "real"):
            stills, others = list_stills(material / "images" / folder)
            assert others == []
            for source in stills:
                output = output_path_in(tmp_path / folder, source)
                try:
                    report = upscale_still(source, output, Enlarger(1.5, "bilinear"))
                except VsrError as error:
                    assert str(source) in error.message  # noqa: PT017
                    assert not output.exists()
                    continue
                num_done += 1
                assert (report.width_out, report.height_out) == (
                    int(report.width_in * 1.5 + 0.5),
                    int(report.height_in * 1.5 + 0.5),
                )
                assert read_still(output).width == report.width_out
        assert num_done >= 14
