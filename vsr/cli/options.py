"""From parsed arguments to `Settings`."""

from __future__ import annotations

import argparse

from vsr.settings import Settings

__all__ = ["read_settings"]

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
