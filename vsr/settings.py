"""What a run is asked to do: one frozen dataclass, validated where it is made; presets are read here.

Order of precedence: what the caller gives, then the preset, then the defaults below.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from types import NoneType
from typing import Any

from vsr.errors import SettingsError

__all__ = [
    "CODECS",
    "DECODERS",
    "DEVICES",
    "ENCODERS",
    "ENGINES",
    "FLOAT_PRECISIONS",
    "PRECISIONS",
    "Preset",
    "Settings",
    "list_presets",
    "load_preset",
    "nearest",
    "parse_time",
]

CODECS = ("h264", "hevc", "av1", "prores", "ffv1")
FLOAT_PRECISIONS = ("auto", "fp32", "fp16", "bf16")
PRECISIONS = (*FLOAT_PRECISIONS, "int8")
ENGINES = ("auto", "torch", "openvino", "tensorrt")
DECODERS = ("auto", "software", "nvdec", "dali")
ENCODERS = ("auto", "software", "nvenc")
DEVICES = "auto, cpu, cuda, cuda:N, mps, or several: cuda:0,cuda:1"
MAX_SCALE = 16
MAX_SECONDS = 10_000_000  # 115 days; times stay within 64-bit ticks

# What a preset file may set; everything else belongs to one run, not to a way of working.
PRESET_KEYS = (
    "description", "model", "scale", "codec", "crf", "encoder_preset", "tile", "batch", "precision", "engine", "reuse",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preset:
    """A named way of working: a TOML file of `PRESET_KEYS`."""

    name: str
    path: Path
    values: Mapping[str, Any]

    @property
    def description(self) -> str:
        return str(self.values.get("description", ""))


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that shapes one run. Values are checked on construction.

    Attributes:
        model: embedded name, catalogue name or weights file.
        scale: output size over input size; None: the network's own factor.
        device: "auto", "cpu", "cuda", "cuda:N", "mps", or several GPUs that share a film: "cuda:0,cuda:1".
        precision: "auto", "fp32", "fp16", "bf16" or "int8" (calibrated on the film, CPU only).
        engine: what runs the network: "auto", "torch", "openvino" (int8 on a CPU) or "tensorrt".
        decoder: "auto", "software", "nvdec" or "dali".
        encoder: "auto" (NVENC where the chip has one and the pictures are on it), "software" or "nvenc".
        reuse: regions that are bit-identical to the frame before are not computed again.
        tile: "auto", "off" or the side of a tile in source pixels.
        batch: "auto" or the number of frames per network call.
        codec: "h264", "hevc", "av1", "prores" or "ffv1".
        crf: constant-quality level of the encoder (lower is better); None: the codec's default.
        encoder_preset: the encoder's own speed name; None: the codec's default.
        start, duration: the part to work on, in seconds from the film's beginning; None: all.
        overwrite: replace an existing output.
        fresh: begin anew, also where an earlier run has left unfinished work.
        allow_corrupt: a damaged source is no failure (what is decodable is upscaled either way).
        drop: streams that may be left out: stream numbers, or "audio", "subtitle", "data", "attachment", "cover".
    """

    model: str = "fast"
    scale: float | None = None
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    decoder: str = "auto"
    encoder: str = "auto"
    reuse: bool = True
    tile: str | int = "auto"
    batch: str | int = "auto"
    codec: str = "h264"
    crf: float | None = None
    encoder_preset: str | None = None
    start: Fraction | None = None
    duration: Fraction | None = None
    overwrite: bool = False
    fresh: bool = False
    allow_corrupt: bool = False
    drop: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        _check_choice("codec", self.codec, CODECS)
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("engine", self.engine, ENGINES)
        _check_choice("decoder", self.decoder, DECODERS)
        _check_choice("encoder", self.encoder, ENCODERS)
        for name in ("reuse", "allow_corrupt"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} {getattr(self, name)!r} is not true or false")
        for name in ("model", "encoder_preset"):
            if not isinstance(getattr(self, name), (str, os.PathLike, NoneType)):
                raise SettingsError(f"{name} {getattr(self, name)!r} is not a name in quotes")
        if not re.fullmatch(r"auto|cpu|mps|cuda|cuda:\d+(,cuda:\d+)*", self.device):
            raise SettingsError(f"device {self.device!r} is not one of {DEVICES}")
        if len(set(self.devices)) < len(self.devices):
            raise SettingsError(f"device {self.device!r} names a GPU twice")
        for name in ("scale", "crf"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise SettingsError(f"{name} {value!r} is not a number")
        if self.scale is not None and not 0 < self.scale <= MAX_SCALE:
            raise SettingsError(
                f"scale {self.scale!r} is out of range", hint=f"give a number above 0, up to {MAX_SCALE}"
            )
        worst = 63 if self.codec == "av1" else 51
        if self.crf is not None and not 0 <= self.crf <= worst:
            raise SettingsError(f"crf {self.crf!r} is out of range", hint=f"0 (best) to {worst} for {self.codec}")
        _check_count("tile", self.tile, ("auto", "off"), minimum=16)
        _check_count("batch", self.batch, ("auto",), minimum=1)
        if self.start is not None and self.start < 0:
            raise SettingsError(f"start {float(self.start)} is negative", hint="seconds from the film's beginning")
        if max(self.start or 0, self.duration or 0) > MAX_SECONDS:
            raise SettingsError("start or duration is longer than any film", hint=f"at most {MAX_SECONDS} seconds")
        if self.duration is not None and self.duration <= 0:
            raise SettingsError(f"duration {float(self.duration)} is not above zero", hint="seconds, e.g. 10 or 1:30")
        for name in self.drop:
            if not name.isdigit() and name not in ("audio", "subtitle", "data", "attachment", "cover", "video"):
                raise SettingsError(
                    f"drop {name!r} names no stream",
                    hint="a stream number of `vsr probe`, or audio, subtitle, data, attachment, cover, video",
                )

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that share the work; mostly one."""
        return tuple(self.device.split(","))

    @classmethod
    def from_options(cls, preset: str | os.PathLike[str] | None = None, **options: Any) -> Settings:
        """Settings from keyword `options` (None means: not given) over a preset over the defaults.

        Raises:
            SettingsError: an unknown key (the nearest known one is named) or a value out of range.
        """
        known = {f.name for f in fields(cls)}
        for key in options:
            if key not in known:
                raise SettingsError(f"there is no setting {key!r}", hint=nearest(key, sorted(known)))
        values = dict(load_preset(preset).values) if preset is not None else {}
        values.pop("description", None)
        values |= {key: value for key, value in options.items() if value is not None}
        for key in ("start", "duration"):
            if key in values:
                values[key] = parse_time(values[key])
        if "drop" in values:
            values["drop"] = tuple(str(name) for name in values["drop"])
        return cls(**values)


def parse_time(value: str | float | Fraction) -> Fraction:
    """Seconds from "90", "1:30", "0:01:30.5" or a number, exactly.

    Raises:
        SettingsError: the text is no time.
    """
    if isinstance(value, (int, Fraction)) or (isinstance(value, float) and math.isfinite(value)):
        return Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", str(value).strip())
    if match is None:
        raise SettingsError(f"{value!r} is not a time", hint="seconds (12.5), m:ss (1:30) or h:mm:ss (1:02:03.5)")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + Fraction(seconds.rstrip(".") if seconds != "." else 0)


def presets_folder() -> Path:
    """The folder of presets: inside the installed package, beside it in a working copy."""
    inside = Path(__file__).parent / "presets"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "presets"


def list_presets() -> list[Preset]:
    """Every preset that comes with the package, by name; training recipes (train-*) are not among them."""
    paths = sorted(presets_folder().glob("*.toml"))
    return [_read_preset(path) for path in paths if not path.stem.startswith("train-")]


def load_preset(name_or_path: str | os.PathLike[str]) -> Preset:
    """The preset of that name, or the one in that TOML file.

    Raises:
        SettingsError: no such preset, unreadable TOML, an unknown key or a value out of range.
    """
    text = os.fspath(name_or_path)
    path = Path(text)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise SettingsError(f"there is no preset file {text!r}")
        return _read_preset(path)
    names = [preset.stem for preset in presets_folder().glob("*.toml") if not preset.stem.startswith("train-")]
    if text not in names:
        close = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise SettingsError(f"there is no preset {text!r}", hint=f"{hint}known presets: {', '.join(sorted(names))}")
    return _read_preset(presets_folder() / f"{text}.toml")


def _read_preset(path: Path) -> Preset:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"preset {str(path)!r} cannot be read: {exc}") from exc
    for key in values:
        if key not in PRESET_KEYS:
            raise SettingsError(f"preset {str(path)!r} has an unknown key {key!r}", hint=nearest(key, PRESET_KEYS))
    try:
        Settings(**{key: value for key, value in values.items() if key != "description"})
    except (SettingsError, TypeError) as exc:
        raise SettingsError(f"preset {str(path)!r}: {exc}") from exc
    return Preset(path.stem, path, values)


def nearest(word: str, known: Sequence[str]) -> str:
    """The hint for an unknown word: which of the known ones may be meant, else all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} {value!r} is not one of {', '.join(allowed)}")


def _check_count(name: str, value: str | int, words: tuple[str, ...], minimum: int) -> None:
    if isinstance(value, str) and value in words:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise SettingsError(f"{name} {value!r} is not {', '.join(words)} or a whole number of at least {minimum}")
