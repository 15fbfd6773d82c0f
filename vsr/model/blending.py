"""Network interpolation: two networks of one architecture mixed weight by weight.

ESRGAN (Wang et al. 2018, section 3.4) mixes a PSNR-trained network with a GAN-trained one; Real-ESRGAN mixes two that
clean more and less. It works where one was trained on from the other; two networks trained apart give noise.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vsr.errors import ModelError, SettingsError
from vsr.model.loading import ForeignModule, load_file
from vsr.model.network import Network
from vsr.model.weights import read_metadata

__all__ = ["Blend", "blend_networks", "check_alpha", "write_blend"]

_MAX_NAMED = 3


@dataclass(frozen=True)
class Blend:
    """What a weights file of the mixture holds: its tensors, and the facts of its header."""

    state: dict[str, Tensor]
    metadata: dict[str, str]


def blend_networks(first: Network, second: Network, alpha: float) -> Blend:
    """(1 - alpha) x `first` + alpha x `second`: alpha is the share of the second, 0 is the first, 1 the second.

    Counters and tables of whole numbers are no weights: the first's are kept.

    Args:
        alpha: 0..1.

    Returns:
        float32 tensors under the keys of vsr's own dialect. The header keeps what those of both files say alike, and
        says what was mixed: name and sha256 of both, alpha; a licence where both are known.

    Raises:
        SettingsError: alpha out of range.
        ModelError: the networks differ in architecture, scale or shape.
    """
    check_alpha(alpha)
    pair = f"{first.name} and {second.name} cannot be mixed"
    for what in ("architecture", "scale"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            raise ModelError(f"{pair}: their {what} differs ({one}, {other})", hint="mix networks of one kind and size")
    one, other = _state(first), _state(second)
    _check_alike(pair, one, other)
    state = {
        key: torch.lerp(value, other[key], alpha) if value.is_floating_point() else value for key, value in one.items()
    }
    return Blend({key: value.contiguous().clone() for key, value in state.items()}, _metadata(first, second, alpha))


def check_alpha(alpha: float) -> None:
    """Raises SettingsError out of 0..1, so that a caller can ask before it fetches networks."""
    if not 0 <= alpha <= 1:
        raise SettingsError(f"alpha {alpha!r} is out of range", hint="0 (all of the first) to 1 (all of the second)")


def write_blend(blend: Blend, path: Path) -> None:
    """Write `blend` as safetensors to `path`, and read the network back.

    The caller gives a temporary name and renames it. The bytes are on the disk when this returns.

    Raises:
        OSError: the file cannot be written.
        WeightsError: what was written is no network that vsr knows.
    """
    from safetensors.torch import save

    with path.open("wb") as file:
        file.write(save(blend.state, metadata=blend.metadata))
        file.flush()
        os.fsync(file.fileno())
    load_file(path, name=path.stem)


def _state(network: Network) -> dict[str, Tensor]:
    module = network.module.network if isinstance(network.module, ForeignModule) else network.module
    return dict(module.state_dict())


def _check_alike(pair: str, one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    differing = [key for key in (*one, *other) if key not in one or key not in other]
    differing += [
        f"{key} ({_shape(value)}, {_shape(other[key])})"
        for key, value in one.items()
        if key in other and value.shape != other[key].shape
    ]
    if differing:
        named = ", ".join(list(dict.fromkeys(differing))[:_MAX_NAMED])
        raise ModelError(f"{pair}: their layers differ in {named}", hint="mix networks of one kind and size")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _metadata(first: Network, second: Network, alpha: float) -> dict[str, str]:
    known = [read_metadata(network.source) if network.source else {} for network in (first, second)]
    facts = {key: value for key, value in known[0].items() if known[1].get(key) == value}
    facts |= {"blend_alpha": repr(float(alpha)), "blend_rule": "(1 - alpha) * first + alpha * second"}
    for place, network in (("first", first), ("second", second)):
        facts[f"blend_{place}"] = network.name
        if network.source:
            facts[f"blend_{place}_sha256"] = hashlib.sha256(network.source.read_bytes()).hexdigest()
    facts.pop("licence", None)
    if first.licence and second.licence:
        both = sorted({first.licence, second.licence})
        facts["licence"] = " AND ".join(both)
    return facts
