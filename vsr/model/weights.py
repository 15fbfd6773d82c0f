"""Weights files: opened safely, unwrapped, and translated to the one dialect that the networks here speak.

A pickle can run any code when it is opened; here it is only ever opened with ``weights_only=True``, which refuses
everything but tensors and plain containers.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vsr.errors import WeightsError

__all__ = ["check_integers", "fill", "read_metadata", "read_state", "show", "translate"]

_FORMATS = "vsr reads PyTorch state dictionaries (.pth, .pt) and .safetensors"
_GET_AGAIN = "get the file again"

# Where checkpoints keep their tensors, the better set first (an exponential moving average gives the better pictures).
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "generator", "net_g", "netG")
# What DataParallel and torch.compile put before every key.
_PREFIXES = ("module.", "_orig_mod.")

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Counters and index tables, which batch normalisation and window attention keep among their weights.
_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

_MAX_NAMED = 3  # a message that lists all of 700 missing tensors helps nobody


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by their keys, on the CPU, as stored, unwrapped of what training put around them.

    Raises:
        WeightsError: the file is missing, empty, cut off, no weights file, or a pickle that holds more than tensors;
            or a tensor in it is sparse, quantised, complex, in 8-bit floats, or anything else but plain numbers.
    """
    head = _read_head(path)
    if path.suffix.lower() == ".safetensors" or _is_safetensors(head):
        state = _read_safetensors(path)
    else:
        state = _unwrap(path, _read_pickle(path, head))
    _check_kinds(path, state)
    return _strip_prefixes(state)


def show(text: object) -> str:
    """`text` as it stands, or, where foreign keys and file names hold control characters, with these escaped."""
    plain = str(text)
    return plain if plain.isprintable() else repr(plain)[1:-1]


def _check_kinds(path: Path, state: Mapping[str, Tensor]) -> None:
    strange = [
        f"{key} ({_kind(value)})"
        for key, value in state.items()
        if value.layout != torch.strided or value.dtype not in (*_FLOATS, *_INTEGERS) or value.device.type != "cpu"
    ]
    if strange:
        raise WeightsError(
            f"weights file {show(path)} holds tensors that are no plain numbers: {_name_some(strange)}",
            hint="use a version of it in float16, bfloat16 or float32",
        )


def _kind(tensor: Tensor) -> str:
    words = (tensor.layout, tensor.dtype) if tensor.layout != torch.strided else (tensor.dtype,)
    where = f", on {tensor.device.type}" if tensor.device.type != "cpu" else ""
    return " ".join(str(word).removeprefix("torch.") for word in words) + where


def read_metadata(path: Path) -> dict[str, str]:
    """The free-form facts in a safetensors header; empty for other files. `path` has been read before."""
    if not _is_safetensors(_read_head(path)):
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _read_head(path: Path) -> bytes:
    """The first bytes of `path`, once they do not already say that it is no weights file."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except FileNotFoundError as exc:
        raise WeightsError(f"weights file {show(path)} does not exist") from exc
    except (OSError, ValueError) as exc:  # ValueError: a null character in the name
        raise WeightsError(
            f"weights file {show(path)} cannot be read: {getattr(exc, 'strerror', None) or exc}"
        ) from exc
    if not head:
        raise WeightsError(f"weights file {show(path)} is empty", hint=_GET_AGAIN)
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"weights file {show(path)} is only a Git LFS pointer, not the weights themselves",
            hint="run `git lfs pull` where it came from, or download the file by its raw link",
        )
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise WeightsError(
            f"weights file {show(path)} is a web page, not weights: the download got an error or a preview page",
            hint="open the link in a browser and save the file itself",
        )
    return head


def _is_safetensors(head: bytes) -> bool:
    # An eight-byte length, then a JSON object.
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100 << 20


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, KeyError) as exc:
        raise WeightsError(f"weights file {show(path)} is broken or cut off: {show(exc)}", hint=_GET_AGAIN) from exc


def _read_pickle(path: Path, head: bytes) -> Any:
    if head.startswith(b"PK") and _is_torchscript(path):
        raise WeightsError(
            f"weights file {show(path)} is a TorchScript program, not weights",
            hint="use the state dictionary (.pth or .safetensors) that it was made from",
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # a broken file makes the unpickler raise nearly anything
        reason = str(exc)
        if found := re.search(r"GLOBAL ([\w.]+)", reason):
            raise WeightsError(
                f"weights file {show(path)} holds {found[1]}, which is not a tensor: opening it could run foreign code,"
                " so it was not opened",
                hint="use a .safetensors version of it, or one that holds the state dictionary alone",
            ) from exc
        if head.startswith(b"PK"):
            raise WeightsError(f"weights file {show(path)} is broken or cut off", hint=_GET_AGAIN) from exc
        raise WeightsError(
            f"{show(path)} is no weights file, or a broken one", hint=f"{_FORMATS}; {_GET_AGAIN}"
        ) from exc


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False  # broken: torch.load will find that out too


def _unwrap(path: Path, loaded: Any) -> dict[str, Tensor]:
    """The dictionary of tensors inside a checkpoint; what is no tensor in it (an epoch, a rate) is left behind."""
    for _ in range(4):  # a wrapper in a wrapper happens; a loop of them would be an attack
        if not isinstance(loaded, Mapping):
            break
        tensors = {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if tensors:
            return tensors
        inner = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            mappings = [value for value in loaded.values() if isinstance(value, Mapping)]
            inner = mappings[0] if len(mappings) == 1 else None
        loaded = inner
    raise WeightsError(f"weights file {show(path)} holds no tensors that vsr can find", hint=_FORMATS)


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((prefix for prefix in _PREFIXES if state and all(k.startswith(prefix) for k in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


# Dialects of RRDBNet -------------------------------------------------------------------------------------------------

_DIALECT_2019 = (
    (re.compile(r"^RRDB_trunk\.(\d+)\.RDB(\d+)\."), r"body.\1.rdb\2."),
    (re.compile(r"^trunk_conv\."), "conv_body."),
    (re.compile(r"^upconv(\d+)\."), r"conv_up\1."),
    (re.compile(r"^HRconv\."), "conv_hr."),
)


def translate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` in the dialect of Real-ESRGAN, if it is an RRDBNet of 2018 (``model.1.sub.0.RDB1.conv1.0``) or of
    2019 (``RRDB_trunk.0.RDB1.conv1``); as it is otherwise. Keys that no dialect knows stay, to be named later.
    """
    if any(key.startswith("model.1.sub.") for key in state):
        return _translate_2018(state)
    if any(key.startswith("RRDB_trunk.") for key in state):
        translated = {}
        for key, value in state.items():
            for pattern, replacement in _DIALECT_2019:
                key = pattern.sub(replacement, key)
            translated[key] = value
        return translated
    return dict(state)


def _translate_2018(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One long nn.Sequential: 0 the first convolution, 1 the trunk with its own last convolution, then for each x2
    stage upsampling, convolution and activation (three places), then convolution, activation, convolution.
    """
    places = [int(match[1]) for key in state if (match := re.match(r"model\.(\d{1,6})\.", key))]
    last = max(places)
    num_upsample = min((last - 4) // 3, len(state))  # bounded, whatever a hostile file counts up to
    names = {"0": "conv_first", str(last - 2): "conv_hr", str(last): "conv_last"}
    names |= {str(3 * stage): f"conv_up{stage}" for stage in range(1, num_upsample + 1)}
    translated = {}
    for key, value in state.items():
        if match := re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d+)\.(conv\d+)\.0\.(weight|bias)", key):
            key = f"body.{match[1]}.rdb{match[2]}.{match[3]}.{match[4]}"
        elif match := re.fullmatch(r"model\.1\.sub\.\d+\.(weight|bias)", key):
            key = f"conv_body.{match[1]}"
        elif match := re.match(r"model\.1\.sub\.(\d+)\.RDB(\d+)\.(.*)", key):  # ESRGAN+: conv1x1
            key = f"body.{match[1]}.rdb{match[2]}.{match[3]}"
        elif (match := re.fullmatch(r"model\.(\d+)\.(weight|bias)", key)) and match[1] in names:
            key = f"{names[match[1]]}.{match[2]}"
        translated[key] = value
    return translated


# Into the network ----------------------------------------------------------------------------------------------------


def check_integers(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Refuses whole numbers where the network has weights: they are quantised by a scheme that is not in the file.

    Raises:
        WeightsError: names the first of them.
    """
    whole = [
        f"{key} ({_kind(state[key])})"
        for key, value in expected.items()
        if key in state and value.is_floating_point() and not state[key].is_floating_point()
    ]
    if whole:
        raise WeightsError(
            f"weights file {show(path)} holds whole numbers for weights: {_name_some(whole)}",
            hint="use a version of it in float16, bfloat16 or float32",
        )


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Puts the tensors of `state` into `module` as float32, if they are exactly what it needs.

    Args:
        module: may live on the meta device: its tensors are replaced, not written to.
        state: in the dialect of `module`.
        path: for messages.

    Raises:
        WeightsError: tensors are missing, left over, of another shape, whole numbers instead of weights, or hold NaN or
            infinity; the first are named.
    """
    expected = module.state_dict()
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    if missing := [key for key in expected if key not in state and key not in optional]:
        raise WeightsError(f"weights file {show(path)} lacks {_name_some(missing)}", hint=_GET_AGAIN)
    if extra := [key for key in state if key not in expected]:
        raise WeightsError(
            f"weights file {show(path)} has tensors that its network has no place for: {_name_some(extra)}"
        )
    misshaped = [
        f"{key} ({_shape(state[key])} instead of {_shape(value)})"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    if misshaped:
        raise WeightsError(f"weights file {show(path)} has tensors of another shape: {_name_some(misshaped)}")
    check_integers(state, expected, path)
    if broken := [key for key, value in state.items() if not bool(torch.isfinite(value).all())]:
        raise WeightsError(f"weights file {show(path)} holds NaN or infinity in {_name_some(broken)}", hint=_GET_AGAIN)
    filled = {key: state[key].to(value.dtype) for key, value in expected.items() if key in state}
    filled |= {key: torch.zeros((), dtype=torch.long) for key in optional - set(state)}
    module.load_state_dict(filled, assign=True)


def _name_some(names: list[str]) -> str:
    rest = len(names) - _MAX_NAMED
    return ", ".join(map(show, names[:_MAX_NAMED])) + (f" and {rest} more" if rest > 0 else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
