"""Finding, decoding and counting training pictures: arrangements of folders, awkward files, partners, memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import films
from vsr.errors import DataError
from vsr.model.resample import shrink
from vsr.training.decoding import decode_frame, decode_still, to_depth, to_float, to_samples
from vsr.training.layout import find_files
from vsr.training.pictures import Pictures, load_pairs, open_pictures


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path: Path, height: int = 16, width: int = 24, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(height, width, seed)).save(path)
    return path


def reasons(pictures: Pictures) -> dict[str, str]:
    return {skipped.name: skipped.reason for skipped in pictures.report.skipped}


def joined(folder: Path, scale: int = 4, split: str = "train") -> dict[str, str | None]:
    """Names of high-resolution pictures, each with its partner's."""
    files = find_files(folder, scale, split).files
    return {file.name: file.low and file.low.relative_to(folder).as_posix() for file in files}


# --- arrangements ---


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("train/HR/a.png", "train/LR/a.png"),
        ("train/HR/a.png", "train/LR/X4/a.png"),
        ("HR/a.png", "LR/x4/ax4.png"),
        ("HR/deep/a.png", "LR/X4/deep/a_x4.png"),
        ("DIV2K_train_HR/0001.png", "DIV2K_train_LR_bicubic/X4/0001x4.png"),
        ("Set5/GTmod12/a.png", "Set5/LRbicx4/a.png"),
        ("set/GT/a.png", "set/LQ/a.jpg"),
        ("img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png"),
        ("HR/sunset_x4.png", "LR/sunset_x4.png"),
        ("HR/ü b.png", "LR/ü b.png"),
    ],
)
def test_partners(tmp_path: Path, high: str, low: str):
    save(tmp_path / high)
    save(tmp_path / low, 4, 6)
    assert joined(tmp_path) == {high: low}


def test_partners_for_another_scale_are_left_alone(tmp_path: Path):
    save(tmp_path / "HR/a.png")
    save(tmp_path / "LR/X2/ax2.png", 8, 12)
    assert joined(tmp_path, 2) == {"HR/a.png": "LR/X2/ax2.png"}
    assert joined(tmp_path, 4) == {"HR/a.png": None}


def test_bicubic_partners_go_first(tmp_path: Path):
    save(tmp_path / "DIV2K_train_HR/1.png")
    save(tmp_path / "DIV2K_train_LR_a_mild/X4/1x4.png")
    save(tmp_path / "DIV2K_train_LR_bicubic/X4/1x4.png")
    assert joined(tmp_path) == {"DIV2K_train_HR/1.png": "DIV2K_train_LR_bicubic/X4/1x4.png"}


def test_train_and_val_are_kept_apart(tmp_path: Path):
    for name in ("train/HR/a.png", "train/LR/a.png", "val/HR/b.png", "val/LR/b.png", "test/c.png"):
        save(tmp_path / name)
    assert joined(tmp_path) == {"train/HR/a.png": "train/LR/a.png"}
    assert joined(tmp_path, split="val") == {"val/HR/b.png": "val/LR/b.png"}
    assert set(joined(tmp_path, split="all")) == {"train/HR/a.png", "val/HR/b.png", "test/c.png"}


def test_div2k_archives_beside_each_other(tmp_path: Path):
    for part, name in (("train", "0001"), ("valid", "0801")):
        save(tmp_path / f"DIV2K_{part}_HR/{name}.png")
        save(tmp_path / f"DIV2K_{part}_LR_bicubic/X4/{name}x4.png")
    assert list(joined(tmp_path)) == ["DIV2K_train_HR/0001.png"]
    assert joined(tmp_path, split="val") == {
        "DIV2K_valid_HR/0801.png": "DIV2K_valid_LR_bicubic/X4/0801x4.png"
    }  # fmt: skip


def test_val_beside_loose_pictures(tmp_path: Path):
    save(tmp_path / "a.png")
    save(tmp_path / "validation/b.png")
    assert list(joined(tmp_path)) == ["a.png"]


def test_symbolic_links_end_and_count_once(tmp_path: Path):
    save(tmp_path / "photos/deep/a.png")
    (tmp_path / "photos/deep/loop").symlink_to(tmp_path / "photos", target_is_directory=True)
    (tmp_path / "photos/b.png").symlink_to("deep/a.png")
    (tmp_path / "photos/gone.png").symlink_to("nowhere.png")
    layout = find_files(tmp_path, 4)
    assert [file.name for file in layout.files] == ["photos/b.png"]
    assert {skipped.name: skipped.reason.split(" (")[0] for skipped in layout.skipped} == {
        "photos/deep/a.png": "the same file as photos/b.png",
        "photos/gone.png": "cannot be read",
    }


def test_one_file_is_a_folder_of_one(tmp_path: Path):
    assert open_pictures([save(tmp_path / "a.png")], scale=4).names == ["a.png"]


# --- what is left out is said ---


def test_pairs_that_do_not_fit_are_named(tmp_path: Path):
    save(tmp_path / "HR/good.png")
    save(tmp_path / "LR/good.png", 4, 6)
    save(tmp_path / "HR/odd.png", 19, 25)
    save(tmp_path / "LR/odd.png", 4, 6)
    save(tmp_path / "HR/large.png")
    save(tmp_path / "LR/large.png", 8, 12)
    save(tmp_path / "HR/single.png")
    save(tmp_path / "LR/widow.png", 4, 6)
    pictures = open_pictures([tmp_path], scale=4)
    assert pictures.names == ["HR/good.png", "HR/odd.png"]
    assert pictures.sizes == [(16, 24), (16, 24)]
    assert reasons(pictures) == {
        "HR/large.png": "its low-resolution partner is 12x8, not 6x4, 1/4 of 24x16",
        "HR/single.png": "no low-resolution partner of this name",
        "LR/widow.png": "no high-resolution partner of this name",
    }
    assert pictures.report.num_pairs == 2


def test_awkward_files(tmp_path: Path, make_film: Callable[..., films.Film]):
    Image.fromarray(noise(20, 28)).convert("L").save(tmp_path / "grey.png")
    Image.fromarray(noise(20, 28)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(noise(20, 28)).convert("P").save(tmp_path / "palette with spaces ä.png")
    save(tmp_path / "whole.png")
    save(tmp_path / "dot.png", 1, 1)
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "notes.txt").write_text("ignored")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "no film.mp4").write_bytes(b"\0" * 1000)
    make_film(films.plain, "film.mp4")
    pictures = open_pictures([tmp_path], scale=4, patch=3, frames_per_film=2)
    assert [name.split(" at ")[0] for name in pictures.names] == [
        "cmyk.jpg", "film.mp4", "film.mp4", "grey.png", "palette with spaces ä.png", "whole.png",
    ]  # fmt: skip
    said = reasons(pictures)
    assert set(said) == {"cut.png", "dot.png", "empty.jpg", "no film.mp4", "text.png"}
    assert said["dot.png"] == "1x1 is too small for patches of 12x12"
    assert said["empty.jpg"] == "the file is empty"
    assert pictures.report.ignored == ["notes.txt"]
    lines = pictures.report.lines()
    assert lines[0].startswith("6 pictures, ")
    assert "2 frames of 1 films" in lines[0]
    assert "5 files skipped:" in lines
    assert sum(name in line for line in lines for name in said) >= 5
    for index in range(len(pictures)):
        assert pictures.high(index).shape == (3, *pictures.sizes[index])
        assert pictures.high(index).dtype == np.uint8


def test_nothing_usable_says_why(tmp_path: Path):
    save(tmp_path / "dot.png", 1, 1)
    with pytest.raises(DataError, match="no picture can be used") as caught:
        open_pictures([tmp_path], scale=4)
    assert "dot.png" in str(caught.value.hint)
    with pytest.raises(DataError, match="no such folder"):
        open_pictures([tmp_path / "absent"], scale=4)


def test_real_awkward_pictures(material: Path):
    pictures = open_pictures([material / "images" / "edge"], scale=4)
    assert "portrait-orientation-6.jpg" in pictures.names
    # HEIC needs a plug-in that may be there.
    assert {"sigsegv.png"} <= set(reasons(pictures)) <= {"sigsegv.png", "animated.heic", "gradient_rotated.heic"}


# --- samples ---


def test_samples_are_those_of_the_file(tmp_path: Path):
    save(tmp_path / "a.png", 18, 27)
    high = open_pictures([tmp_path], scale=4).high(0)
    assert np.array_equal(high, noise(18, 27)[:16, :24].transpose(2, 0, 1))
    assert not high.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_as_pillow_applies_it(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(12, 20)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(decode_still(tmp_path / "a.png"), upright.transpose(2, 0, 1))


def test_sixteen_bits_stay(tmp_path: Path):
    samples = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 170
    Image.fromarray(samples).save(tmp_path / "deep.png")
    save(tmp_path / "flat.png")
    pictures = open_pictures([tmp_path], scale=4)
    assert pictures.is_deep
    assert [pictures.high(index).dtype for index in range(2)] == [np.uint16, np.uint8]
    assert np.array_equal(pictures.high(0), np.stack([samples] * 3))
    pictures.make_lows("matlab")
    assert pictures.low(0).dtype == np.uint16


def test_alpha_is_laid_over_black(tmp_path: Path):
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 128], [200, 100, 50, 0]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert decode_still(tmp_path / "a.png")[:, 0].T.tolist() == [[200, 100, 50], [100, 50, 25], [0, 0, 0]]


def test_depths_are_exact_both_ways():
    codes = np.arange(256, dtype=np.uint8)
    deep = to_depth(codes, is_deep=True)
    assert deep[-1] == 65535
    assert np.array_equal(to_depth(deep, is_deep=False), codes)
    assert torch.equal(to_float(deep), to_float(codes))
    assert np.array_equal(to_samples(to_float(codes), is_deep=False), codes)
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_samples(to_float(every), is_deep=True), every)


@pytest.mark.parametrize("kernel", ["matlab", "pillow"])
def test_lows_are_the_rounded_shrunk_picture(tmp_path: Path, kernel: str):
    save(tmp_path / "a.png", 32, 40)
    pictures = open_pictures([tmp_path], scale=4)
    pictures.make_lows(kernel)
    wanted = shrink(torch.from_numpy(noise(32, 40)).permute(2, 0, 1)[None] / 255, 4, kernel).clamp(0, 1)
    assert np.array_equal(pictures.low(0), (wanted[0] * 255).round().numpy().astype(np.uint8))
    if kernel == "pillow":
        pillow = np.asarray(Image.fromarray(noise(32, 40)).resize((10, 8), Image.Resampling.BICUBIC))
        assert np.abs(pictures.low(0).transpose(1, 2, 0).astype(int) - pillow).max() <= 1


def test_partners_are_taken_as_they_are(tmp_path: Path):
    save(tmp_path / "HR/a.png")
    save(tmp_path / "LR/a.png", 4, 6, seed=9)
    pictures = open_pictures([tmp_path], scale=4)
    pictures.make_lows("matlab")
    assert np.array_equal(pictures.low(0), noise(4, 6, seed=9).transpose(2, 0, 1))


def test_frames_of_a_film_are_spread_and_exact(tmp_path: Path, make_film: Callable[..., films.Film]):
    film = make_film(films.plain, "film.mkv")
    pictures = open_pictures([tmp_path], scale=2, frames_per_film=4)
    assert len(pictures) == 4
    times = [float(name.split(" at ")[1].removesuffix(" s")) for name in pictures.names]
    length = film.num_frames / 24
    assert [int(time / length * 4) for time in times] == [0, 1, 2, 3]
    # The blue of films.picture names the frame.
    for index, time in enumerate(times):
        blue = round(time * 24) * 37 % 256
        assert abs(float(np.median(pictures.high(index)[2])) - blue) < 12


# --- memory ---


def test_what_does_not_fit_is_decoded_anew(tmp_path: Path, make_film: Callable[..., films.Film]):
    for index in range(3):
        save(tmp_path / f"{index}.png", 32, 40, seed=index)
    make_film(films.plain, "film.mp4")
    whole = open_pictures([tmp_path], scale=2, frames_per_film=3)
    tight = open_pictures([tmp_path], scale=2, frames_per_film=3, memory=5000)
    assert tight.report.num_resident == 1
    assert any("do not fit into memory" in line for line in tight.report.lines())
    assert not any("do not fit into memory" in line for line in whole.report.lines())
    assert tight.names == whole.names
    assert tight.fingerprint == whole.fingerprint
    for pictures in (whole, tight):
        pictures.make_lows("matlab")
    for index in range(len(whole)):
        assert np.array_equal(tight.high(index), whole.high(index))
        assert np.array_equal(tight.low(index), whole.low(index))


def test_a_frame_that_is_gone_is_named(make_film: Callable[..., films.Film]):
    from vsr.errors import SourceError

    film = make_film(films.plain, "film.mp4")
    with pytest.raises(SourceError, match="cannot be read any more"):
        decode_frame(film.path, film.times[-1] + 1000)


# --- fingerprint ---


def test_fingerprint_is_of_names_and_contents(tmp_path: Path):
    def print_of(folder: Path) -> str:
        return open_pictures([folder], scale=4).fingerprint

    first = tmp_path / "first"
    save(first / "a.png")
    save(first / "b.png", seed=1)
    known = print_of(first)
    assert len(known) == 64
    shutil.copytree(first, tmp_path / "second")
    os.utime(tmp_path / "second/a.png", (0, 0))
    assert print_of(tmp_path / "second") == known
    (tmp_path / "second/broken.png").write_text("not used")
    assert print_of(tmp_path / "second") == known
    save(tmp_path / "second/b.png", seed=2)
    assert print_of(tmp_path / "second") != known
    (first / "b.png").rename(first / "c.png")
    assert print_of(first) != known


# --- validation pairs ---


def test_pairs_to_measure_on(tmp_path: Path):
    save(tmp_path / "a.png", 18, 27)
    pairs = load_pairs(tmp_path, 4, "matlab")
    [(name, low_CHW, high_CHW)] = list(pairs)
    assert name == "a.png"
    assert torch.equal(high_CHW, torch.from_numpy(noise(18, 27)[:16, :24]).permute(2, 0, 1) / 255)
    wanted = shrink(high_CHW[None], 4, "matlab").mul(255).round().clamp(0, 255)[0] / 255
    assert torch.equal(low_CHW, wanted)
    assert pairs[-1][0] == "a.png"
    with pytest.raises(IndexError):
        pairs[1]


def test_no_val_part_is_no_pairs(tmp_path: Path):
    save(tmp_path / "a.png")
    assert len(load_pairs(tmp_path, 4, split="val")) == 0
    save(tmp_path / "val/b.png")
    assert [name for name, _, _ in load_pairs(tmp_path, 4, split="val")] == ["val/b.png"]
