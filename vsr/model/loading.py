"""A network by its name or its file: found, checked, recognised by its tensors, ready to run."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vsr.errors import ModelError, WeightsError
from vsr.model import catalog, weights
from vsr.model.compact import Compact
from vsr.model.network import Network
from vsr.model.rrdb import RRDBNet
from vsr.model.srresnet import SRResNet
from vsr.model.vision import import_torchvision

__all__ = ["describe", "import_spandrel", "load_model"]

_ARCHITECTURES: tuple[type[Compact] | type[RRDBNet] | type[SRResNet], ...] = (Compact, RRDBNet, SRResNet)


def load_model(
    name_or_path: str | os.PathLike[str],
    *,
    scale: float | None = None,
    download: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Network:
    """The network of that name in the catalogue, or of that weights file.

    Args:
        name_or_path: "fast" (comes inside the package), a name of `catalog.entries()`, or a file: a path, or the name
            of a file in a folder of VSR_MODELS. A path object is always a file.
        scale: the enlargement wanted: of a network that comes in several scales, the one for it.
        download: fetch weights of the catalogue that are not on this machine yet.
        progress: called with (bytes done, bytes in all) during a download.

    Raises:
        ModelError: no such name.
        DownloadError: the weights could not be had.
        WeightsError: the file is missing, broken, hostile, or of a network that is not known.
    """
    entry, path = catalog.resolve(name_or_path, scale)
    if entry is not None:
        path = catalog.fetch(entry, download=download, progress=progress)
    assert path is not None
    network = load_file(path, name=entry.name if entry else path.stem, licence=entry.licence if entry else None)
    if entry is not None and network.scale != entry.scale:  # the sha256 was right, so the catalogue is wrong
        raise WeightsError(f"{entry.name} enlarges by {network.scale}, not by {entry.scale} as the catalogue says")
    return network


def load_file(path: Path, *, name: str, licence: str | None = None) -> Network:
    """The network of the weights file `path`; everything about it is read from its tensors.

    Raises:
        WeightsError: as `load_model`.
    """
    state = weights.read_state(path)
    canonical = weights.translate(state)
    licence = licence or weights.read_metadata(path).get("licence")
    for kind in _ARCHITECTURES:
        if kind.recognises(canonical):
            return _build(kind, canonical, path, name, licence)
    return _build_foreign(state, path, name, licence)


def describe(network: Network) -> dict[str, Any]:
    """What there is to know about `network`, as plain values that JSON can hold."""
    return {
        "name": network.name,
        "architecture": network.architecture,
        "scale": network.scale,
        "parameters": sum(parameter.numel() for parameter in network.module.parameters()),
        "flops_per_pixel": network.flops_per_pixel,
        "halo": network.halo,
        "multiple": network.multiple,
        "half_safe": network.half_safe,
        "licence": network.licence,
        "source": None if network.source is None else str(network.source),
    }


def _build(
    kind: type[Compact] | type[RRDBNet] | type[SRResNet],
    state: Mapping[str, Tensor],
    path: Path,
    name: str,
    licence: str | None,
) -> Network:
    if empty := [key for key, value in state.items() if value.numel() == 0]:
        raise WeightsError(f"weights file {weights.show(path)} holds nothing in {weights.show(empty[0])}")
    try:
        with torch.device("meta"):  # no memory, no random weights: the tensors of the file take their places
            module = kind.for_state(state)
    except KeyError as exc:
        raise WeightsError(
            f"weights file {weights.show(path)} looks like {kind.architecture} but lacks {weights.show(exc.args[0])}"
        ) from exc
    except (ValueError, IndexError) as exc:
        raise WeightsError(
            f"weights file {weights.show(path)} looks like {kind.architecture}, but its shapes say: {exc}"
        ) from exc
    _check_colours(path, module.in_channels, module.out_channels)
    weights.fill(module, state, path)
    if isinstance(module, Compact):
        module.simplify()
    return Network(
        module=module.eval().requires_grad_(False),
        scale=module.scale,
        architecture=kind.architecture,
        name=name,
        halo=module.halo,
        multiple=module.multiple,
        flops_per_pixel=module.flops_per_pixel,
        half_safe=True,
        licence=licence,
        source=path,
    )


def _check_colours(path: Path, in_channels: int, out_channels: int) -> None:
    if (in_channels, out_channels) != (3, 3):
        raise WeightsError(
            f"the network of {weights.show(path)} takes {in_channels} and gives {out_channels} channels;"
            " vsr needs 3 and 3 (RGB)",
            hint="use a colour version of this network",
        )


# Networks of spandrel ------------------------------------------------------------------------------------------------


class ForeignModule(nn.Module):
    """A network of spandrel behind the same door as ours: any size and batch, float32 in and out (clamped to 0..1)."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.network = descriptor.model
        self._descriptor = descriptor  # pads to what the network asks for, and crops

    @property
    def takes_any_size(self) -> bool:
        """Whether the network itself takes pictures from one pixel up, with nothing to pad and crop."""
        return bool(self._descriptor.size_requirements.none)

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        # One at a time: that is all that spandrel promises for every network.
        return torch.cat([self._descriptor(frame_CHW[None].to(dtype)).float() for frame_CHW in frames_BCHW])


def import_spandrel() -> Any:
    """The module spandrel.

    Raises:
        ImportError: it is not installed, or not usable.
    """
    with contextlib.suppress(ModelError):  # where that is the reason, spandrel's own import says so
        import_torchvision()
    return importlib.import_module("spandrel")


def _build_foreign(state: Mapping[str, Tensor], path: Path, name: str, licence: str | None) -> Network:
    some_keys = ", ".join(map(weights.show, list(state)[:3]))
    try:
        spandrel = import_spandrel()
    except ImportError as exc:
        raise WeightsError(
            f"the network of {weights.show(path)} is none that vsr knows itself (its tensors begin with {some_keys})",
            hint="pip install 'vsr[models]' for the networks of spandrel",
        ) from exc
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(
            spandrel.canonicalize_state_dict(dict(state))
        )
    except Exception as exc:  # it builds networks from unchecked shapes: nearly anything can be raised
        raise WeightsError(
            f"the network of {weights.show(path)} is none that vsr or spandrel can build"
            f" (its tensors begin with {some_keys}): {type(exc).__name__}"
        ) from exc
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise WeightsError(
            f"the network of {weights.show(path)} ({descriptor.architecture.name}) needs more than a picture"
        )
    _check_colours(path, descriptor.input_channels, descriptor.output_channels)
    weights.check_integers(state, descriptor.model.state_dict(), path)
    if broken := [key for key, value in descriptor.model.state_dict().items() if not torch.isfinite(value).all()]:
        raise WeightsError(f"weights file {weights.show(path)} holds NaN or infinity in {weights.show(broken[0])}")
    return Network(
        module=ForeignModule(descriptor).float().eval().requires_grad_(False),
        scale=int(descriptor.scale),
        architecture=str(descriptor.architecture.name),
        name=name,
        multiple=int(descriptor.size_requirements.multiple_of),
        half_safe=bool(descriptor.supports_half and descriptor.supports_bfloat16),
        licence=licence,
        source=path,
    )
