from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vsr.errors import SettingsError
from vsr.settings import PRESET_KEYS, Settings, list_presets, load_preset, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", Fraction(25, 2)),
        ("1:30", Fraction(90)),
        ("0:01:30.5", Fraction(181, 2)),
        ("1:02:03", Fraction(3723)),
        (".5", Fraction(1, 2)),
        ("90.", Fraction(90)),
        ("0.1", Fraction(1, 10)),
        (0.1, Fraction(1, 10)),
        (7, Fraction(7)),
    ],
)
def test_times_are_exact(text: str | float, seconds: Fraction) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "abc", "1:2:3:4", "-5", ".", "1h", float("inf"), float("nan")])
def test_what_is_no_time_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"scale": 0}, "scale"),
        ({"scale": 17}, "scale"),
        ({"codec": "mpeg2"}, "codec"),
        ({"precision": "int4"}, "precision"),
        ({"engine": "tvm"}, "engine"),
        ({"decoder": "vdpau"}, "decoder"),
        ({"encoder": "qsv"}, "encoder"),
        ({"reuse": "yes"}, "reuse"),
        ({"allow_corrupt": "yes"}, "allow_corrupt"),
        ({"model": 1}, "model"),
        ({"encoder_preset": True}, "encoder_preset"),
        ({"device": "gpu"}, "device"),
        ({"device": "cuda:0,cpu"}, "device"),
        ({"device": "cuda:1,cuda:1"}, "device"),
        ({"tile": 3}, "tile"),
        ({"tile": "huge"}, "tile"),
        ({"batch": 0}, "batch"),
        ({"crf": 99}, "crf"),
        ({"duration": 0}, "duration"),
        ({"start": Fraction(-1)}, "start"),
        ({"drop": ["sound"]}, "drop"),
    ],
)
def test_values_out_of_range_are_refused_by_name(options: dict[str, object], name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_options(**options)


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_options(preset=None, precison="fp32")
    assert "'precision'" in str(caught.value)


def test_what_is_given_wins_over_the_preset_and_the_preset_over_the_defaults(tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('description = "mine"\ncodec = "hevc"\ncrf = 30\n')
    settings = Settings.from_options(preset, crf=22, scale=None)
    assert (settings.codec, settings.crf, settings.model) == ("hevc", 22, "fast")


def test_a_preset_with_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('encoder_presett = "slow"\n')
    with pytest.raises(SettingsError) as caught:
        load_preset(preset)
    assert "encoder_presett" in caught.value.message
    assert caught.value.hint == "did you mean 'encoder_preset'?"


@pytest.mark.parametrize("text", ["codec = ", 'codec = "vp9"', "crf = 400", 'crf = "x"'])
def test_a_preset_that_makes_no_sense_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text(text)
    with pytest.raises(SettingsError, match=r"mine\.toml"):
        load_preset(preset)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(SettingsError) as caught:
        load_preset("fats")
    assert "'fast'" in str(caught.value)
    assert "archive" in str(caught.value)


def test_every_shipped_preset_makes_settings() -> None:
    presets = list_presets()
    assert {"fast", "quality", "archive"} <= {preset.name for preset in presets}
    for preset in presets:
        assert preset.description
        assert set(preset.values) <= set(PRESET_KEYS)
        Settings.from_options(preset.name)
