"""A recipe: everything that decides what a training yields, one frozen dataclass per table of its TOML file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from vsr.errors import SettingsError
from vsr.training.degradation import DegradationSettings
from vsr.training.generators import NetworkSettings

__all__ = [
    "DataSettings",
    "DiscriminatorSettings",
    "LossSettings",
    "OptimizerSettings",
    "Recipe",
    "RunSettings",
    "find_differences",
]

# Keys of [run] and [data] that say how the work is done and watched; the losses stay the same whatever they are.
_FREE_TO_CHANGE = {
    "name", "description", "data.validation", "run.minutes", "run.workers", "run.log_every", "run.checkpoint_every",
    "run.keep", "run.validate_every", "run.name", "run.licence", "run.export_dtype", "run.max_bad_steps",
    "run.tensorboard",
}  # fmt: skip
_LEAST_RATE = 1e-12


@dataclass(frozen=True, slots=True)
class DataSettings:
    """What a step sees.

    Attributes:
        patch: side of a low-resolution patch in pixels; the target's is `scale` times that.
        batch: patches of one optimizer step, over all processes and all pieces of an accumulated step.
        kernel: what makes low-resolution pictures where there are none: "matlab" (imresize bicubic) or "pillow".
        patches_per_sheet: patches cut from one region before the next is read (and degraded): the more, the cheaper.
        augment: flips and quarter turns.
        jitter: strength of changes in brightness, contrast and saturation, of input and target alike; 0 for none.
        validation: folders of pictures to measure on; beside them the `val` folder of the data is always used.
    """

    patch: int = 48
    batch: int = 16
    kernel: str = "matlab"
    patches_per_sheet: int = 8
    augment: bool = True
    jitter: float = 0.0
    validation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_least("data.patch", self.patch, 4)
        _check_least("data.batch", self.batch, 1)
        _check_least("data.patches_per_sheet", self.patches_per_sheet, 1)
        if not 0 <= self.jitter < 1:
            raise SettingsError(f"data.jitter {self.jitter!r} is out of range", hint="0 (none) up to below 1, e.g. 0.1")
        _check_choice("data.kernel", self.kernel, ("matlab", "pillow"))


@dataclass(frozen=True, slots=True)
class LossSettings:
    """What the generator is judged by: the sum of four terms, each with its weight (0: left out).

    Attributes:
        pixel, pixel_weight: "l1", "charbonnier" or "mse".
        luma_weight: share of the pixel loss that is taken on BT.601 luma, 0..1.
        perceptual_weight, perceptual_layers, perceptual_criterion: distance of VGG19 features before activation, by
            layer with its weight; "l1" or "mse".
        perceptual_weights: torchvision's VGG19 as a file; "" to find or download it; or "random": untrained features,
            which are never taken unless asked for.
        color_weight: distance of the low-pass of output and input, against a drift of colours.
        adversarial, adversarial_weight: "standard", "relativistic" or "lsgan".
    """

    pixel: str = "l1"
    pixel_weight: float = 1.0
    luma_weight: float = 0.0
    perceptual_weight: float = 0.0
    perceptual_layers: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"conv5_4": 1.0}))
    perceptual_criterion: str = "l1"
    perceptual_weights: str = ""
    color_weight: float = 0.0
    adversarial: str = "relativistic"
    adversarial_weight: float = 0.0

    def __post_init__(self) -> None:
        _check_choice("loss.pixel", self.pixel, ("l1", "charbonnier", "mse"))
        _check_choice("loss.perceptual_criterion", self.perceptual_criterion, ("l1", "mse"))
        _check_choice("loss.adversarial", self.adversarial, ("standard", "relativistic", "lsgan"))
        for name in ("pixel_weight", "luma_weight", "perceptual_weight", "adversarial_weight", "color_weight"):
            _check_least(f"loss.{name}", getattr(self, name), 0)
        if not (self.pixel_weight or self.perceptual_weight or self.adversarial_weight):
            raise SettingsError("every weight of [loss] is 0: there is nothing to learn", hint="set loss.pixel_weight")


@dataclass(frozen=True, slots=True)
class DiscriminatorSettings:
    """The judge of a GAN stage.

    Attributes:
        kind: "none", "vgg" or "unet" (Real-ESRGAN, spectral norm).
        style: of the VGG-like one: "esrgan" or "srgan".
        num_features: channels of its first layer.
        learning_rate: None for the generator's.
    """

    kind: str = "none"
    style: str = "esrgan"
    num_features: int = 64
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        _check_choice("discriminator.kind", self.kind, ("none", "vgg", "unet"))
        _check_least("discriminator.num_features", self.num_features, 1)
        if self.learning_rate is not None:
            _check_least("discriminator.learning_rate", self.learning_rate, _LEAST_RATE)


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """How weights follow their gradients.

    Attributes:
        kind: "adam", "adamw" or "muon" (of the generator's convolutions; a discriminator then learns by Adam).
        learning_rate: after warm-up.
        schedule: "constant", "multistep" (times `gamma` at each of `milestones`) or "cosine" (down to `final_rate` of
            the rate at the last step).
        warmup: steps over which the rate rises in a straight line from 0.
        clip: longest gradient (2-norm over all weights); 0 for no limit.
        ema: decay of the moving average of the weights, which is what is measured and exported; 0 for none.
    """

    kind: str = "adam"
    learning_rate: float = 2e-4
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.5
    final_rate: float = 0.0
    warmup: int = 0
    clip: float = 0.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        _check_choice("optimizer.kind", self.kind, ("adam", "adamw", "muon"))
        _check_choice("optimizer.schedule", self.schedule, ("constant", "multistep", "cosine"))
        for name in ("weight_decay", "gamma", "final_rate", "warmup", "clip"):
            _check_least(f"optimizer.{name}", getattr(self, name), 0)
        _check_least("optimizer.learning_rate", self.learning_rate, _LEAST_RATE)
        if not 0 <= self.ema < 1:
            raise SettingsError(
                f"optimizer.ema {self.ema!r} is out of range", hint="0 (none) up to below 1, e.g. 0.999"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise SettingsError(f"optimizer.betas {self.betas!r} are not two numbers from 0 to below 1")
        if self.schedule == "multistep" and not self.milestones:
            raise SettingsError("optimizer.schedule 'multistep' has no milestones", hint="set optimizer.milestones")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise SettingsError(f"optimizer.milestones {self.milestones!r} do not rise")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How long, how precisely, and how it is watched.

    Attributes:
        steps: optimizer steps.
        minutes: stop (with a checkpoint) when this much time has been spent, over all resumes; 0 for no limit.
        seed: of weights and data.
        precision: "fp32", "bf16" or "fp16" (CUDA only) for the arithmetic; weights are always kept in fp32.
        accumulate: pieces in which the batch goes through the network, one after the other, to save memory.
        checkpointing: keep few activations and compute the others again on the way back (gradient checkpointing).
        compile: torch.compile the generator.
        pretrained: weights to begin with: a file, or a name of `vsr models list`; "" for random ones.
        workers: processes that prepare data; 0: the loop's own.
        log_every, validate_every, checkpoint_every: in steps; 0 for never (validation: only at the end).
        keep: checkpoints that stay, besides the best.
        max_bad_steps: that many steps in a row without finite gradients end the training.
        name: of the exported file; "" for the recipe's.
        licence: of the exported weights, an SPDX identifier.
        export_dtype: "fp32" or "fp16".
        tensorboard: write its files where it is installed.
    """

    steps: int = 100_000
    minutes: float = 0.0
    seed: int = 0
    precision: str = "fp32"
    accumulate: int = 1
    checkpointing: bool = False
    compile: bool = False
    pretrained: str = ""
    workers: int = 1
    log_every: int = 100
    validate_every: int = 5000
    checkpoint_every: int = 1000
    keep: int = 3
    max_bad_steps: int = 50
    name: str = ""
    licence: str = ""
    export_dtype: str = "fp32"
    tensorboard: bool = True

    def __post_init__(self) -> None:
        _check_choice("run.precision", self.precision, ("fp32", "bf16", "fp16"))
        _check_choice("run.export_dtype", self.export_dtype, ("fp32", "fp16"))
        for name in ("steps", "accumulate", "log_every", "keep", "max_bad_steps"):
            _check_least(f"run.{name}", getattr(self, name), 1)
        for name in ("minutes", "seed", "workers", "validate_every", "checkpoint_every"):
            _check_least(f"run.{name}", getattr(self, name), 0)
        if self.name != self.name.strip() or "/" in self.name or "\\" in self.name or self.name.startswith("."):
            raise SettingsError(f"run.name {self.name!r} is no file name", hint="letters, digits, - and _")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole recipe. Its `name` is that of its file, without "train-"."""

    name: str
    description: str = ""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    data: DataSettings = field(default_factory=DataSettings)
    degradation: DegradationSettings = field(default_factory=DegradationSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    discriminator: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        if self.loss.adversarial_weight and self.discriminator.kind == "none":
            raise SettingsError(
                "loss.adversarial_weight needs a discriminator", hint='set discriminator.kind to "vgg" or "unet"'
            )
        if self.discriminator.kind != "none" and not self.loss.adversarial_weight:
            raise SettingsError(
                f"discriminator.kind {self.discriminator.kind!r} has no say: loss.adversarial_weight is 0",
                hint="set loss.adversarial_weight, e.g. 5e-3",
            )
        if self.data.batch % self.run.accumulate:
            raise SettingsError(
                f"data.batch {self.data.batch} does not divide into run.accumulate {self.run.accumulate} equal pieces"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold, table by table."""
        values = {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}
        return {key: _plain(value) for key, value in values.items()}


def find_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Where two recipes (of `Recipe.as_dict`) would train differently: "table.key: old -> new" for each.

    A key that `old` does not know, since it is of an earlier version, had what is now its default.
    """
    flat_old, flat_new = _flatten(Recipe("").as_dict()) | _flatten(old), _flatten(new)
    free = set(_FREE_TO_CHANGE)
    if flat_new.get("optimizer.schedule") != "cosine":
        free.add("run.steps")  # only the cosine depends on where the end is
    return [
        f"{key}: {json.dumps(flat_old.get(key))} -> {json.dumps(flat_new.get(key))}"
        for key in sorted(flat_old.keys() | flat_new.keys())
        if flat_old.get(key) != flat_new.get(key) and key not in free
    ]


def _flatten(recipe: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        flat |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    return value


def _check_choice(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{key} {value!r} is not one of {', '.join(allowed)}")


def _check_least(key: str, value: float, least: float) -> None:
    if not least <= value < math.inf:  # written so that NaN is refused, too
        raise SettingsError(f"{key} {value!r} is not a number of at least {least}")
