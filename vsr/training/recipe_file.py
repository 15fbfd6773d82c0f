"""Reading recipes: TOML and `--set key=value` to a `Recipe`, with every unknown key refused."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vsr.errors import SettingsError
from vsr.settings import nearest, presets_folder
from vsr.training.recipe import Recipe

__all__ = ["list_recipes", "load_recipe"]

_PREFIX = "train-"


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in presets_folder().glob(f"{_PREFIX}*.toml"))


def load_recipe(name_or_path: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """The recipe of that name or file, with single keys set otherwise.

    Args:
        name_or_path: "train-psnr" (or "psnr"), or a TOML file.
        overrides: "table.key" (or "key", where only one table has it) -> value as TOML writes it, texts
            without quotes; a list may be written a,b,c.

    Raises:
        SettingsError: no such recipe, table or key (the nearest is named), or a value of a wrong kind or out of range.
    """
    path = _find(name_or_path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"recipe {str(path)!r} cannot be read: {exc}") from exc
    for key, text in (overrides or {}).items():
        table, name = _place(key)
        values.setdefault(table, {})[name] = text
    try:
        return _make_recipe(path.stem.removeprefix(_PREFIX), values, set(overrides or {}))
    except SettingsError as exc:
        raise SettingsError(f"recipe {path.name!r}: {exc.message}", hint=exc.hint) from exc


def _find(text: str) -> Path:
    path = Path(text)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise SettingsError(f"there is no recipe file {text!r}")
        return path
    known = list_recipes()
    for name in (text, f"{_PREFIX}{text}"):
        if name in known:
            return presets_folder() / f"{name}.toml"
    raise SettingsError(f"there is no recipe {text!r}", hint=nearest(text, known))


def _tables() -> dict[str, Any]:
    """Table -> its dataclass."""
    hints = typing.get_type_hints(Recipe)
    return {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}


def _place(key: str) -> tuple[str, str]:
    """The table and the key that a word of `--set` means."""
    tables = {table: [part.name for part in dataclasses.fields(kind)] for table, kind in _tables().items()}
    table, dot, name = key.rpartition(".")
    if dot:
        if table not in tables:
            raise SettingsError(f"--set {key}: there is no table {table!r}", hint=nearest(table, list(tables)))
        if name not in tables[table]:
            raise SettingsError(f"--set {key}: [{table}] has no key {name!r}", hint=nearest(name, tables[table]))
        return table, name
    homes = [table for table, names in tables.items() if key in names]
    if len(homes) == 1:
        return homes[0], key
    if homes:
        raise SettingsError(f"--set {key}: several tables have it", hint=" or ".join(f"{home}.{key}" for home in homes))
    everything = sorted({name for names in tables.values() for name in names})
    raise SettingsError(f"--set {key}: there is no such key", hint=nearest(key, everything))


def _make_recipe(name: str, values: Mapping[str, Any], overridden: set[str]) -> Recipe:
    tables = _tables()
    parts: dict[str, Any] = {}
    for key, value in values.items():
        if key == "description" and isinstance(value, str):
            parts[key] = value
        elif key not in tables:
            homes = [table for table, kind in tables.items() if key in (part.name for part in dataclasses.fields(kind))]
            if homes and not isinstance(value, Mapping):
                raise SettingsError(f"the key {key!r} stands outside of its table", hint=f"put it below [{homes[0]}]")
            raise SettingsError(f"unknown table [{key}]", hint=nearest(key, list(tables)))
        elif not isinstance(value, Mapping):
            raise SettingsError(f"{key} is a table, not {value!r}", hint=f"write [{key}]")
        else:
            parts[key] = _make_table(key, tables[key], value)
    return Recipe(name=name, **parts)


def _make_table(table: str, kind: Any, values: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    fitted = {}
    for key, value in values.items():
        if key not in hints:
            raise SettingsError(f"[{table}] has an unknown key {key!r}", hint=nearest(key, list(hints)))
        fitted[key] = _fit(f"{table}.{key}", value, hints[key])
    try:
        return kind(**fitted)
    except (TypeError, ValueError) as exc:
        raise SettingsError(f"[{table}]: {exc}") from exc


def _fit(key: str, value: Any, hint: Any) -> Any:
    """`value` as the type that the field wants; a text may stand for any of them (it came from `--set`)."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None or value in ("none", "None"):
            return None
        return _fit(key, value, next(kind for kind in arguments if kind is not type(None)))
    if origin is typing.Literal:
        if value not in arguments:
            raise SettingsError(f"{key} {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if isinstance(value, str) and hint is not str:
        value = _parse(key, value, origin)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise SettingsError(f"{key} {value!r} does not have {len(arguments)} values")
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_fit(key, inner, kind) for inner, kind in zip(value, kinds, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return types.MappingProxyType({name: _fit(f"{key}.{name}", v, arguments[1]) for name, v in value.items()})
    if isinstance(hint, type) and type(value) is hint:
        return value
    wanted = getattr(hint, "__name__", str(hint)) if origin is None else str(hint).rpartition(".")[2]
    raise SettingsError(f"{key} {value!r} is of a wrong kind", hint=f"{wanted} is wanted")


def _parse(key: str, text: str, origin: Any) -> Any:
    """What `text` says in TOML, or the text itself."""
    if origin is tuple and not text.lstrip().startswith("["):
        return [_parse(key, part.strip(), None) for part in text.split(",") if part.strip()]
    if text in ("True", "False"):
        return text == "True"
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
