"""The perceptual loss: how far two pictures are apart as VGG19, trained to recognise things, sees them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import DownloadError, SettingsError, TrainingError, WeightsError
from vsr.model.catalog import Entry, fetch
from vsr.model.download import Progress, find_fault
from vsr.model.vision import import_torchvision
from vsr.model.weights import fill, read_state
from vsr.training.losses import at_least_float32

__all__ = [
    "PERCEPTUAL_CRITERIA",
    "PERCEPTUAL_LAYERS",
    "VGG19",
    "PerceptualLoss",
    "check_layers",
    "find_vgg19",
    "least_side",
]

PERCEPTUAL_CRITERIA = ("l1", "mse")

# VGG19's convolutions per block; each block is closed by a pooling, each convolution followed by a ReLU.
_NUM_CONVS = (2, 2, 4, 4, 4)
_CONVS = [f"{block}_{conv}" for block, count in enumerate(_NUM_CONVS, 1) for conv in range(1, count + 1)]
PERCEPTUAL_LAYERS = (*(f"conv{name}" for name in _CONVS), *(f"relu{name}" for name in _CONVS))

# As published by torchvision (VGG19_Weights.IMAGENET1K_V1); the first digits of the sha256 are in its name.
VGG19 = Entry(
    name="vgg19",
    scale=1,
    architecture="VGG19",
    description="features for the perceptual loss",
    licence="BSD-3-Clause",
    file_name="vgg19-dcbb9e9d.pth",
    num_bytes=574673361,
    sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
)

# Of RGB 0..1 over ImageNet: what torchvision's VGG19 was trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RANDOM_SEED = 19  # random features are the same ones in every process and after every resume
_ATTEMPTS = 3  # of a download
_WAYS = (
    'name the file yourself: perceptual_weights = "FILE.pth" (torchvision\'s vgg19); or train with untrained features'
    ' on purpose: perceptual_weights = "random"'
)


class PerceptualLoss(nn.Module):
    """Weighted sum, over layers of VGG19, of the mean difference of the features of two pictures.

    Layers are named "conv5_4" (the output of that convolution BEFORE its activation: ESRGAN, section 3.3) or "relu5_4"
    (after it: SRGAN). Real-ESRGAN takes conv1_2 and conv2_2 times 0.1, conv3_4, conv4_4 and conv5_4 times 1.

    VGG19 is frozen, stays in eval mode, and reaches only as far as the deepest layer asked for. Leave the loss out of
    checkpoints: nothing in it changes. It works under autocast; the differences are always taken in float32.

    Args:
        layers: factor of each layer by its name, of `PERCEPTUAL_LAYERS`.
        criterion: "l1" (ESRGAN, Real-ESRGAN) or "mse" (SRGAN): the mean over all values of a layer.
        weights: a file with torchvision's VGG19 (or its features alone), or None for `find_vgg19`, or "random" for
            untrained features, which carry a gradient but have learnt nothing about pictures.
        progress: called with (bytes done, bytes in all) where weights are downloaded.
        check_range: refuse targets that leave 0..1, as a wrong loader makes them. Makes the device wait.

    Attributes:
        notes: what must be said to the user: that the features are random. Empty otherwise.

    Raises:
        SettingsError: an unknown layer or criterion, a factor out of range.
        TrainingError: the weights cannot be had, or are none of VGG19; the hint names the way out.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        layers: Mapping[str, float],
        criterion: str = "l1",
        weights: Path | Literal["random"] | None = None,
        *,
        progress: Progress | None = None,
        check_range: bool = False,
    ) -> None:
        super().__init__()
        check_layers(layers)
        if criterion not in PERCEPTUAL_CRITERIA:
            raise SettingsError(f"perceptual criterion {criterion!r} is not one of {', '.join(PERCEPTUAL_CRITERIA)}")
        self.layers, self.criterion, self.check_range = dict(layers), criterion, check_range
        self.notes: tuple[str, ...] = ()
        self._factors = {_place(name): float(factor) for name, factor in layers.items()}
        self._least_side = least_side(layers)
        self.features = _build_features(num_layers=max(self._factors) + 1)
        if weights == "random":
            _fill_randomly(self.features)
            self.notes = ('the perceptual loss uses RANDOM features, not VGG19\'s (perceptual_weights = "random")',)
        else:
            _fill_from_file(self.features, find_vgg19(progress=progress) if weights is None else Path(weights))
        self.features.requires_grad_(False)
        self.register_buffer("_mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(_STD).view(3, 1, 1), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stays in eval mode whatever `mode` is: VGG19 measures here, it does not learn."""
        super().train(False)
        return self

    def extra_repr(self) -> str:
        return f"layers={self.layers}, criterion={self.criterion!r}"

    def forward(self, output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """The loss of `output_BCHW` as a scalar, at least float32. No gradient goes to `target_BCHW`.

        Args:
            output_BCHW, target_BCHW: B,3,H,W of the same shape, RGB 0..1 of any float dtype, in any memory format; as
                many pixels each way as the poolings before the deepest layer need (16 for conv5_4).

        Raises:
            ValueError: shapes differ or are too small, or (with `check_range`) the target leaves 0..1.
        """
        if output_BCHW.shape != target_BCHW.shape or output_BCHW.shape[1] != 3:
            raise ValueError(
                f"no two RGB pictures of one shape: {tuple(output_BCHW.shape)}, {tuple(target_BCHW.shape)}"
            )
        if min(output_BCHW.shape[-2:]) < self._least_side:
            raise ValueError(f"{tuple(output_BCHW.shape)} is too small for {', '.join(self.layers)}")
        if self.check_range:
            _check_range(target_BCHW)
        with torch.no_grad():
            targets = self.extract(target_BCHW)
        outputs = self.extract(output_BCHW)
        losses = [
            factor * self._average(at_least_float32(outputs[place]) - at_least_float32(targets[place]))
            for place, factor in self._factors.items()
        ]
        return torch.stack(losses).sum()

    def extract(self, frames_BCHW: Tensor) -> dict[int, Tensor]:
        """The features of `frames_BCHW` (RGB 0..1) in the wanted layers, by their places in `features`."""
        values = (at_least_float32(frames_BCHW) - self._mean) / self._std
        values = values.to(next(self.features.parameters()).dtype)
        kept = {}
        for place, layer in enumerate(self.features):
            values = layer(values)
            if place in self._factors:
                kept[place] = values
        return kept

    def _average(self, difference: Tensor) -> Tensor:
        return difference.abs().mean() if self.criterion == "l1" else difference.square().mean()


def check_layers(layers: Mapping[str, object]) -> None:
    """Refuses what is no set of weighted layers.

    Raises:
        SettingsError: no layer at all, an unknown one (the nearest is named), or a factor that is not above zero.
    """
    if not layers:
        raise SettingsError("the perceptual loss has no layers", hint="for instance conv5_4 = 1.0, as in ESRGAN")
    for name, factor in layers.items():
        if name not in PERCEPTUAL_LAYERS:
            near = difflib.get_close_matches(str(name), PERCEPTUAL_LAYERS, n=1)
            raise SettingsError(
                f"VGG19 has no layer {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else "conv1_1 to conv5_4, relu1_1 to relu5_4",
            )
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
            raise SettingsError(f"the factor {factor!r} of {name} is not a number above zero")


def least_side(layers: Mapping[str, object]) -> int:
    """Pixels that a picture must have each way, to be seen in the deepest of `layers`.

    Raises:
        SettingsError: as `check_layers`.
    """
    check_layers(layers)
    return int(2 ** (max(_block(name) for name in layers) - 1))


def find_vgg19(*, progress: Progress | None = None) -> Path:
    """The verified file of torchvision's VGG19: from torch's hub cache if another program left it there, else from
    VSR_MODELS or vsr's own cache, else downloaded to the latter (575 MB, once).

    Args:
        progress: called with (bytes done, bytes in all) during a download.

    Raises:
        TrainingError: it is nowhere, and cannot be downloaded.
    """
    in_hub = Path(torch.hub.get_dir()) / "checkpoints" / VGG19.file_name
    if find_fault(in_hub, VGG19) is None:
        return in_hub
    try:
        return fetch(VGG19, progress=progress, attempts=_ATTEMPTS)
    except (DownloadError, WeightsError) as exc:
        raise TrainingError(
            f"the perceptual loss needs VGG19, which cannot be had: {exc.message}",
            hint=f"{_WAYS}; or put {VGG19.file_name} into {in_hub.parent}",
        ) from exc


def _block(name: str) -> int:
    return int(name.removeprefix("conv").removeprefix("relu").partition("_")[0])


def _place(name: str) -> int:
    """Where a layer stands in torchvision's ``vgg19().features``: "conv1_1" 0, "relu1_1" 1, ... "conv5_4" 34."""
    before = _CONVS.index(name[4:])
    num_pools = _block(name) - 1
    return 2 * before + num_pools + (name[:4] == "relu")


def _build_features(num_layers: int) -> nn.Sequential:
    """The first layers of VGG19 without memory for their weights."""
    models = import_torchvision().models
    with torch.device("meta"):
        features: nn.Sequential = models.vgg19(weights=None, init_weights=False).features[:num_layers]
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # it would turn what was kept from before the activation into what comes after it
    return features


def _fill_randomly(features: nn.Sequential) -> None:
    """He et al. (ICCV 2015), so that deep features are as large as shallow ones; biases are zero."""
    features.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(_RANDOM_SEED)
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


def _fill_from_file(features: nn.Sequential, path: Path) -> None:
    try:
        state = {key.removeprefix("features."): value for key, value in read_state(path).items()}
        # Deeper layers and the classifier are in the file and not wanted.
        fill(features, {key: state[key] for key in features.state_dict() if key in state}, path)
    except WeightsError as exc:
        raise TrainingError(f"no VGG19 for the perceptual loss: {exc.message}", hint=_WAYS) from exc


def _check_range(target_BCHW: Tensor) -> None:
    least, greatest = (float(value) for value in torch.aminmax(target_BCHW))
    if not (least >= 0 and greatest <= 1):  # written so that NaN is refused, too
        raise ValueError(f"the target runs from {least:g} to {greatest:g}; the perceptual loss needs RGB 0..1")
