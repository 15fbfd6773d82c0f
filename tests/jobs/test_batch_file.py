from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vsr.errors import SettingsError
from vsr.jobs.batch_file import read_batch_file
from vsr.jobs.entry import Entry


def read(folder: Path, text: str, flags: dict[str, Any] | None = None, **options: Any) -> list[Entry]:
    path = folder / "films.toml"
    path.write_text(text, encoding="utf-8")
    return read_batch_file(path, flags or {}, **options)


def test_a_film_has_what_is_its_own_and_else_what_is_everybodys(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        """
        [defaults]
        output = "out"
        crf = 20
        start = "1:30"
        [[film]]
        input = "a.mp4"
        [[film]]
        input = "b/*.avi"
        output = "/elsewhere"
        name = "{stem}.mkv"
        crf = 10
        preset = "archive"
        """,
    )
    assert (first.folder, first.input, first.output) == (tmp_path, "a.mp4", tmp_path / "out")
    assert (first.settings, first.preset) == ({"crf": 20, "start": "1:30"}, None)
    assert (second.input, second.output, second.template.text) == ("b/*.avi", Path("/elsewhere"), "{stem}.mkv")
    assert (second.settings["crf"], second.settings["codec"], second.preset) == (10, "ffv1", "archive")


def test_what_the_command_line_says_wins(tmp_path: Path) -> None:
    text = '[[film]]\ninput = "a.mp4"\noutput = "out"\nname = "x.mp4"\ncrf = 10\n'
    (entry,) = read(tmp_path, text, {"crf": 30.0}, output=Path("/there"), name="{stem}.mov")
    assert (entry.output, entry.template.text, entry.settings["crf"]) == (Path("/there"), "{stem}.mov", 30.0)


def test_networks_and_presets_that_lie_beside_the_file_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine.pth").touch()
    (tmp_path / "mine.toml").write_text("crf = 3\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = '[[film]]\ninput = "a.mp4"\noutput = "out"\nmodel = "mine.pth"\npreset = "mine.toml"\n'
    (entry,) = read(tmp_path, text)
    assert entry.settings == {"crf": 3, "model": str(tmp_path / "mine.pth")}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[defaults", "cannot be read"),
        ("[default]\n", "did you mean 'defaults'"),
        ("defaults = 3\n", "[[film]]"),
        ("film = [3]\n", "[[film]]"),
        ('[film]\ninput = "a.mp4"\n', "[[film]]"),
        ("[[film]]\n", "input"),
        ('[[film]]\ninput = "a.mp4"\n', "no output folder"),
        ('[[film]]\ninput = 3\noutput = "out"\n', "input is not a text"),
        ('[[film]]\ninput = "a.mp4"\noutput = "out"\nname = true\n', "name is not a text"),
        ('[[film]]\ninput = "a.mp4"\noutput = "out"\nprset = "film"\n', "did you mean 'preset'"),
        ('[defaults]\ncodex = "h264"\n[[film]]\ninput = "a.mp4"\noutput = "out"\n', "did you mean 'codec'"),
        ('[[film]]\ninput = "a.mp4"\noutput = "out"\ncrf = 1979-05-27\n', "crf"),
        ('[[film]]\ninput = "a.mp4"\noutput = "out"\nstart = 01:30:00\n', "wrong kind"),
        ('[[film]]\ninput = "a.mp4"\noutput = "out"\nname = "{stm}.mp4"\n', "did you mean 'stem'"),
        ('[[film]]\ninput = "a.mp4"\noutput = "out"\ndevice = "cpu"\n', "--device"),
    ],
)
def test_what_makes_no_sense_is_refused_with_file_and_film(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert word in str(caught.value)
    assert "films.toml" in caught.value.message


def test_the_film_at_fault_is_numbered(tmp_path: Path) -> None:
    good = '[[film]]\ninput = "a.mp4"\noutput = "out"\n'
    with pytest.raises(SettingsError, match=r"films\.toml', film 3: "):
        read(tmp_path, f"{good}{good}{good}crf = 99\n")


def test_ten_thousand_films_are_read_once_per_way_of_working(tmp_path: Path) -> None:
    """Each with a preset, which is a file: half a second here."""
    films = "".join(f'[[film]]\ninput = "{number}.mp4"\npreset = "film"\n' for number in range(10_000))
    entries = read(tmp_path, f'[defaults]\noutput = "out"\n{films}')
    assert len(entries) == 10_000
    assert len({id(entry.settings) for entry in entries}) == 1
