"""Losses on pixels: how far a picture is from the one it should be."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import SettingsError
from vsr.metrics import LUMA_BT601

__all__ = ["CHARBONNIER_EPSILON", "PIXEL_LOSSES", "ColorConsistencyLoss", "PixelLoss", "at_least_float32"]

PIXEL_LOSSES = ("l1", "charbonnier", "mse")

# Lai et al., LapSRN (CVPR 2017), section 3.3, for pictures in 0..1.
CHARBONNIER_EPSILON = 1e-3


class PixelLoss(nn.Module):
    """Mean over all values of a penalty of the difference d of two pictures.

    "l1": abs(d). "charbonnier": sqrt(d² + eps²), which is `l1` made smooth around zero (its least value is eps, not 0).
    "mse": d². With `luma_weight` w the loss is (1 - w) times that of RGB plus w times that of luma (BT.601, in
    16/255..235/255), which is the only thing that PSNR on Y sees; its offset drops out of every difference.

    Args:
        kind: one of `PIXEL_LOSSES`.
        luma_weight: 0 (RGB alone) to 1 (luma alone: colours are then free to drift).
        epsilon: of "charbonnier", in units of the pictures.

    Raises:
        SettingsError: an unknown kind, or a number out of range.
    """

    def __init__(self, kind: str = "l1", luma_weight: float = 0.0, *, epsilon: float = CHARBONNIER_EPSILON) -> None:
        super().__init__()
        if kind not in PIXEL_LOSSES:
            raise SettingsError(f"pixel loss {kind!r} is not one of {', '.join(PIXEL_LOSSES)}")
        if not 0 <= luma_weight <= 1:
            raise SettingsError(f"luma_weight {luma_weight!r} is out of range", hint="0 (RGB alone) to 1 (luma alone)")
        if not epsilon > 0:
            raise SettingsError(f"the epsilon {epsilon!r} of the Charbonnier loss is not above zero")
        self.kind, self.luma_weight, self.epsilon = kind, float(luma_weight), float(epsilon)

    def extra_repr(self) -> str:
        return f"{self.kind!r}, luma_weight={self.luma_weight}"

    def forward(self, output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """The loss of `output_BCHW` as a scalar, at least float32 whatever the pictures are (autocast changes nothing).

        Args:
            output_BCHW, target_BCHW: B,3,H,W of the same shape, RGB 0..1 of any float dtype, in any memory format.
                Any number of channels if `luma_weight` is 0.

        Raises:
            ValueError: shapes differ, or there is no RGB to make luma of.
        """
        difference_BCHW = _subtract(output_BCHW, target_BCHW)
        weight = self.luma_weight
        if weight == 0:
            return self._average(difference_BCHW)
        luma_BHW = _luma(difference_BCHW)
        if weight == 1:
            return self._average(luma_BHW)
        return (1 - weight) * self._average(difference_BCHW) + weight * self._average(luma_BHW)

    def _average(self, difference: Tensor) -> Tensor:
        if self.kind == "l1":
            return difference.abs().mean()
        if self.kind == "mse":
            return difference.square().mean()
        return (difference.square() + self.epsilon**2).sqrt().mean()


class ColorConsistencyLoss(nn.Module):
    """Holds the colours of the output to those of the input: the mean absolute difference of their low-passes.

    The low-pass is the mean over boxes that cover the same part of both pictures: `box` x `box` pixels of the input,
    `box` times the scale of the output. Detail, noise and blocking smaller than a box do not count; a shift of colour
    or brightness does. Networks trained on heavily degraded input, with a discriminator above all, drift there.

    Args:
        box: side of a box in input pixels; smaller where the picture is smaller.

    Raises:
        SettingsError: the box is smaller than a pixel.
    """

    def __init__(self, box: int = 8) -> None:
        super().__init__()
        if box < 1:
            raise SettingsError(f"a box of {box} pixels is too small for a low-pass", hint="at least 1")
        self.box = box

    def extra_repr(self) -> str:
        return f"box={self.box}"

    def forward(self, output_BCHW: Tensor, low_BCHW: Tensor) -> Tensor:
        """The loss as a scalar, at least float32.

        Args:
            output_BCHW: B,C,H*scale,W*scale, any float dtype.
            low_BCHW: B,C,H,W: the input of the network, same range of values.

        Raises:
            ValueError: the size of the output is no whole multiple of the size of the input.
        """
        height, width = low_BCHW.shape[-2:]
        scale = output_BCHW.shape[-1] // width
        if output_BCHW.shape != (*low_BCHW.shape[:2], height * scale, width * scale) or scale < 1:
            raise ValueError(f"{tuple(output_BCHW.shape)} is no enlargement of {tuple(low_BCHW.shape)}")
        box = (min(self.box, height), min(self.box, width))
        output_box = (box[0] * scale, box[1] * scale)
        with torch.autocast(output_BCHW.device.type, enabled=False):
            output_smooth = F.avg_pool2d(at_least_float32(output_BCHW), output_box)
            low_smooth = F.avg_pool2d(at_least_float32(low_BCHW), box)
            return (output_smooth - low_smooth).abs().mean()


def _subtract(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    if output_BCHW.shape != target_BCHW.shape:
        raise ValueError(f"pictures of different shapes: {tuple(output_BCHW.shape)} and {tuple(target_BCHW.shape)}")
    # Half precision holds 8 to 11 bits: a difference between nearly equal pictures, and a mean of many, need more.
    return at_least_float32(output_BCHW) - at_least_float32(target_BCHW)


def at_least_float32(values: Tensor) -> Tensor:
    """`values` in float32, or as they are where they are float64."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _luma(picture_BCHW: Tensor) -> Tensor:
    """B,3,H,W -> B,H,W without the offset of 16/255. Written out: a product of matrices would be cast by autocast."""
    if picture_BCHW.shape[1] != 3:
        raise ValueError(f"luma needs RGB, not a tensor of shape {tuple(picture_BCHW.shape)}")
    red, green, blue = picture_BCHW.unbind(1)
    return LUMA_BT601[0] * red + LUMA_BT601[1] * green + LUMA_BT601[2] * blue
