"""The command line as a user meets it: status, stdout for data, stderr for words, no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import films
from vsr.cli import main

Run = Callable[..., tuple[int, str, str]]


def test_upscale_prints_one_json_object(run: Run, film: films.Film, tiny_weights: Path) -> None:
    status, out, _ = run("upscale", film.path, "--model", tiny_weights, "--json")
    report = json.loads(out)
    assert status == 0
    promised = {
        "input", "output", "frames_in", "frames_out", "seconds", "fps", "model", "device", "precision", "tile",
        "streams", "stage_seconds", "peak_memory_bytes", "warnings",
    }  # fmt: skip
    assert promised <= set(report)
    assert report["frames_out"] == film.num_frames
    assert Path(report["output"]).is_file()


def test_data_goes_to_stdout_and_words_to_stderr(run: Run, film: films.Film, tiny_weights: Path) -> None:
    status, out, err = run("upscale", film.path, "--model", tiny_weights)
    assert (status, out) == (0, "")
    assert "film_x4.mp4" in err
    assert "verified" in err


def test_quiet_says_nothing(run: Run, film: films.Film, tiny_weights: Path) -> None:
    assert run("upscale", film.path, "--model", tiny_weights, "--quiet") == (0, "", "")


def test_several_inputs_into_a_folder_and_one_failure_does_not_stop_the_rest(
    run: Run, film: films.Film, tmp_path: Path, tiny_weights: Path
) -> None:
    other = films.silent(tmp_path / "other.mkv")
    folder = tmp_path / "out"
    status, out, err = run(
        "upscale", film.path, tmp_path / "missing.mp4", other.path, "-o", folder, "--model", tiny_weights, "--json"
    )
    assert status == 1
    assert "missing.mp4" in err
    assert "does not exist" in err
    assert [json.loads(line)["frames_out"] for line in out.splitlines()] == [film.num_frames, other.num_frames]
    assert sorted(path.name for path in folder.iterdir()) == ["film_x4.mp4", "other_x4.mkv"]


def test_pictures_and_folders_of_pictures(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (12, 10), (200, 100, 50)).save(folder / name)
    (folder / "notes.txt").write_text("x")
    assert run("upscale", folder / "a.png", "--model", tiny_weights)[0] == 0
    with Image.open(folder / "a_x4.png") as larger:
        assert larger.size == (48, 40)
    (folder / "a_x4.png").unlink()
    status, _, err = run("upscale", folder, "--model", tiny_weights)
    assert status == 0
    assert "1 entries" in err
    assert sorted(path.name for path in (tmp_path / "pictures_x4").iterdir()) == ["a.png", "b.jpg"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--codec", "vp9"], "vp9"),
        (["--scale", "-1"], "scale"),
        (["--preset", "fats"], "fats"),
        (["--start", "soon"], "soon"),
        (["--tile", "3"], "tile"),
        (["--device", "tpu"], "tpu"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_is_status_2_and_names_the_word(
    run: Run, film: films.Film, arguments: list[str], word: str
) -> None:
    status, out, err = run("upscale", film.path, *arguments)
    assert status == 2
    assert word in err
    assert out == ""


@pytest.mark.parametrize("content", [b"", b"this is no film", b"<!DOCTYPE html><html>404</html>", bytes(5000)])
def test_what_is_no_film_is_status_1(run: Run, tmp_path: Path, tiny_weights: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    status, _, err = run("upscale", path, "--model", tiny_weights)
    assert status == 1
    assert "film.mp4" in err


def test_a_damaged_film_is_status_1_unless_allowed(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    film = films.corrupt(tmp_path / "film.mp4")
    status, _, err = run("upscale", film.path, "--model", tiny_weights)
    assert status == 1
    assert "--allow-corrupt" in err
    assert (tmp_path / "film_x4.mp4").is_file()
    assert run("upscale", film.path, "--model", tiny_weights, "--overwrite", "--allow-corrupt")[0] == 0


def test_an_unknown_model_names_the_nearest(run: Run, film: films.Film) -> None:
    status, _, err = run("upscale", film.path, "--model", "realesrgan-x4")
    assert status == 1
    assert "realesrgan-x4plus" in err


def test_probe_says_what_the_film_holds_and_what_a_run_would_do(run: Run, film: films.Film, tiny_weights: Path) -> None:
    status, out, _ = run("probe", film.path, "--model", tiny_weights, "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["frames"] == film.num_frames
    assert facts["run"]["size"] == [4 * film.width, 4 * film.height]
    assert facts["run"]["estimated_seconds"] is not None
    text = run("probe", film.path, "--model", tiny_weights)[1]
    assert "64x48" in text
    assert "256x192" in text
    assert "-> copy" in text


def test_a_dry_run_writes_nothing(run: Run, film: films.Film, tiny_weights: Path) -> None:
    status, out, _ = run("upscale", film.path, "--model", tiny_weights, "--dry-run")
    assert status == 0
    assert "film_x4.mp4" in out
    assert [path.name for path in film.path.parent.iterdir()] == ["film.mp4"]


def test_probe_tells_of_a_refusal(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    film = films.with_attachments(tmp_path / "film.mkv")
    status, out, _ = run("probe", film.path, "-o", tmp_path / "film.mp4", "--model", tiny_weights)
    assert status == 0
    assert "refused" in out
    assert ".mkv" in out


def test_presets_models_doctor(run: Run, tiny_weights: Path) -> None:
    assert "archive" in run("presets", "list")[1]
    assert 'codec = "ffv1"' in run("presets", "show", "archive")[1]
    names = [row["name"] for row in json.loads(run("models", "list", "--json")[1])]
    assert names[0] == "fast"
    assert "realesr-animevideov3" in names
    assert json.loads(run("models", "info", tiny_weights, "--json")[1])["scale"] == 4
    status, out, _ = run("doctor", "--json")
    assert status == 0
    facts = json.loads(out)
    assert "libx264" in facts["encoders"]
    assert {"nvdec", "nvenc"} <= facts.keys()
    assert any(extra.startswith("nvidia.dali ") for extra in facts["extras"])


def test_version_and_help(run: Run) -> None:
    assert run("--version")[1].startswith("vsr ")
    assert "upscale" in run("--help")[1]
    assert run()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_soon_with_130_and_leaves_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    """A network so heavy that one frame takes minutes: even then the end comes in under 5 s."""
    import networks

    weights = networks.write_compact(
        tmp_path_factory.mktemp("heavy") / "heavy.safetensors", num_features=64, num_conv=32
    )
    film = films.plain(tmp_path / "film.mp4", size=(1280, 720), times=24)
    # Programs that a script starts in the background are deaf to Ctrl-C, and so would this one be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "vsr", "upscale", str(film.path), "--model", str(weights), "--precision", "fp32"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.part")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        start = time.monotonic()
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()  # left alone, it would keep all cores busy for an hour
        process.wait()
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_a_reader_that_goes_away_is_no_error(tiny_weights: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "vsr", "models", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.wait(timeout=30)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_main_leaves_no_thread(run: Run, film: films.Film, tiny_weights: Path) -> None:
    run("upscale", film.path, "--model", tiny_weights)
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("vsr-")]


def test_a_dry_run_of_what_would_be_refused_is_status_1(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    film = films.with_attachments(tmp_path / "film.mkv")
    output = tmp_path / "out.mp4"
    assert run("upscale", film.path, "-o", output, "--model", tiny_weights, "--dry-run")[0] == 1


def test_a_dry_run_into_a_folder_that_is_not_there_makes_none(run: Run, film: films.Film, tiny_weights: Path) -> None:
    folder = film.path.parent / "larger"
    status, out, _ = run("upscale", film.path, "-o", f"{folder}/", "--model", tiny_weights, "--dry-run")
    assert status == 0
    assert str(folder / "film_x4.mp4") in out
    assert not folder.exists()


def test_the_unexpected_is_no_traceback(
    film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the unthinkable")

    monkeypatch.setattr("vsr.api.upscale", fail)
    assert main(["upscale", str(film.path), "--model", str(tiny_weights)]) == 1
    err = capsys.readouterr().err
    assert "internal error: RuntimeError: the unthinkable" in err
    assert "Traceback" not in err


def test_terminal_escapes_of_a_film_do_not_reach_the_terminal(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    film = films.plain(tmp_path / "film.mkv", video_metadata={"title": "a\x1b]0;owned\x07b"})
    out = run("probe", film.path, "--model", tiny_weights)[1]
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "owned" in out


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "/proc/nope/film.mp4"])
def test_impossible_outputs_are_errors_of_ours(run: Run, film: films.Film, tiny_weights: Path, name: str) -> None:
    status, _, err = run("upscale", film.path, "-o", name, "--model", tiny_weights)
    assert status == 1
    assert "internal error" not in err


def test_times_beyond_any_film_are_refused(run: Run, film: films.Film) -> None:
    status, _, err = run("upscale", film.path, "--start", "9" * 30)
    assert status == 2
    assert "longer than any film" in err


def test_one_upscaler_for_several_films_tells_each_its_own(
    film: films.Film, tmp_path: Path, tiny_weights: Path
) -> None:
    import vsr
    from vsr.settings import Settings

    settings = Settings(model=str(tiny_weights), overwrite=True)
    upscaler = vsr.make_upscaler(settings)
    upscaler.warnings.append("of the network")
    first = vsr.upscale(film.path, settings=settings, upscaler=upscaler)
    second = vsr.upscale(film.path, settings=settings, upscaler=upscaler)
    assert first.warnings == second.warnings == ("of the network",)


def test_names_that_are_no_files_are_refused_at_once(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    status, _, err = run("upscale", tmp_path / "pipe.mp4", "--model", tiny_weights)
    assert status == 1
    assert "pipe" in err
    assert run("upscale", "", "--model", tiny_weights)[0] == 2


@pytest.mark.parametrize("name", ["12:30 clip.mp4", "http:x.mp4", "a%03d [b].mp4", "\udcfc.mp4"])
def test_any_file_name_is_a_file_name(
    run: Run, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    films.plain(tmp_path / "film.mp4").path.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert run("upscale", name, "--model", tiny_weights)[0] == 0
    assert sorted(os.listdir()) == sorted([name, f"{name[:-4]}_x4.mp4"])


def test_two_inputs_that_would_become_one_file_are_refused(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        films.plain(tmp_path / folder / "film.mp4")
    inputs = [tmp_path / "a" / "film.mp4", tmp_path / "b" / "film.mp4"]
    status, _, err = run("upscale", *inputs, "-o", tmp_path / "out", "--model", tiny_weights)
    assert status == 2
    assert "film.mp4" in err
    other = films.avi(tmp_path / "a" / "film.avi").path
    status, _, err = run("upscale", inputs[0], other, "--overwrite", "--model", tiny_weights)
    assert status == 2, "both would become film_x4.mp4"


def test_a_bad_folder_among_the_inputs_does_not_stop_the_rest(
    run: Run, film: films.Film, tmp_path: Path, tiny_weights: Path
) -> None:
    (tmp_path / "empty").mkdir()
    status, _, err = run("upscale", tmp_path / "empty", film.path, "-o", tmp_path / "out", "--model", tiny_weights)
    assert status == 2
    assert "without pictures" in err
    assert (tmp_path / "out" / "film_x4.mp4").is_file()


@pytest.mark.parametrize("number", ["0", "9"])
def test_what_cannot_be_dropped_is_said(run: Run, film: films.Film, tiny_weights: Path, number: str) -> None:
    status, _, err = run("upscale", film.path, "--drop", number, "--model", tiny_weights)
    assert status == 2
    assert f"#{number}" in err


def test_a_link_that_leads_nowhere_holds_its_name(run: Run, film: films.Film, tiny_weights: Path) -> None:
    output = film.path.with_name("out.mp4")
    output.symlink_to("/nowhere/at/all.mp4")
    status, _, err = run("upscale", film.path, "-o", output, "--model", tiny_weights)
    assert status == 1
    assert "exists already" in err


def test_an_upscaler_of_another_scale_than_asked_for_is_refused(film: films.Film, tiny_weights: Path) -> None:
    import vsr
    from vsr.settings import Settings

    upscaler = vsr.make_upscaler(Settings(model=str(tiny_weights)))
    with pytest.raises(vsr.UsageError, match="enlarges 4 times"):
        vsr.upscale(film.path, upscaler=upscaler, scale=2)
