"""The presets that come with the package: each can be read, says what it is for, and asks for what there is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vsr.settings import CODECS, PRESET_KEYS, Settings, list_presets, load_preset

FOLDER = Path(__file__).resolve().parent.parent / "presets"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml") if not path.stem.startswith("train-"))


def test_presets_are_there():
    assert {"anime", "archive", "detail", "fast", "film", "general", "quality", "realtime"} <= set(NAMES)
    assert [preset.name for preset in list_presets()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_preset_is_read_and_described(name: str):
    preset = load_preset(name)
    assert preset.values == tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    assert set(preset.values) <= set(PRESET_KEYS)
    assert 10 < len(preset.description) <= 120
    assert (FOLDER / f"{name}.toml").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_preset_makes_settings(name: str):
    values = dict(load_preset(name).values)
    settings = Settings.from_options(preset=name)
    assert settings.codec in CODECS
    del values["description"]
    assert {key: getattr(settings, key) for key in values} == values


@pytest.mark.parametrize("name", NAMES)
def test_preset_yields_to_the_caller(name: str):
    assert Settings.from_options(preset=name, codec="hevc", crf=30).crf == 30


def test_fast_is_what_nothing_asks_for():
    """The default run and the preset `fast` use the same network and codec."""
    fast, plain = Settings.from_options(preset="fast"), Settings()
    assert (fast.model, fast.codec) == (plain.model, plain.codec)
