"""From parsed arguments to `Settings`."""

from __future__ import annotations

import argparse
from typing import Any

from vsr.settings import Settings

__all__ = ["read_given", "read_settings"]

_KEYS = (
    "scale", "model", "device", "precision", "engine", "decoder", "encoder", "reuse", "tile", "batch", "codec", "crf",
    "encoder_preset", "start", "duration", "overwrite", "fresh", "drop", "allow_corrupt",
)  # fmt: skip


def read_settings(options: argparse.Namespace) -> Settings:
    """Settings of one command line.

    Raises:
        SettingsError: a value is out of range, or the preset is not to be had.
    """
    return Settings.from_options(options.preset, **{key: getattr(options, key, None) for key in _KEYS})


def read_given(options: argparse.Namespace) -> dict[str, Any]:
    """What one command line says of films themselves, as plain values: its settings and preset, without the device
    and without what is asked of one run alone."""
    keys = ("preset", *(key for key in _KEYS if key not in ("device", "overwrite", "fresh")))
    return {key: value for key in keys if (value := getattr(options, key, None)) is not None}
