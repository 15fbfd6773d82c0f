"""Chroma planes to luma's size and back: linear filters with the phase that the chroma siting demands.

Along one axis chroma sample i of a plane subsampled by `factor` lies at luma position factor * i + offset, where the
offset is 0 for co-sited chroma and (factor - 1) / 2 for chroma centred between its luma samples. Outside the picture
its edge is repeated.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def interpolate(samples: Tensor, dim: int, size: int, factor: int, *, is_cosited: bool) -> Tensor:
    """Linear interpolation along `dim`, to `size` samples; constant planes stay exactly constant.

    Args:
        samples: float tensor of any shape; ceil(size / factor) long in `dim`.
        dim: -1 (horizontal) or -2 (vertical).
    """
    if factor == 1:
        return samples
    count = samples.size(dim)
    padded = torch.cat((samples.narrow(dim, 0, 1), samples, samples.narrow(dim, count - 1, 1)), dim)
    shape = list(samples.shape)
    shape[dim] = size
    result = samples.new_empty(shape)
    offset = 0.0 if is_cosited else (factor - 1) / 2
    for phase in range(min(factor, size)):
        target = _stride(result, dim, phase, factor)
        position = (phase - offset) / factor
        before = math.floor(position)
        near = padded.narrow(dim, before + 1, target.size(dim))
        if position == before:
            target.copy_(near)
        else:
            torch.lerp(near, padded.narrow(dim, before + 2, target.size(dim)), position - before, out=target)
    return result


def decimate(samples: Tensor, dim: int, factor: int, *, is_cosited: bool) -> Tensor:
    """Low-pass filter and keep every `factor`-th sample along `dim`: the adjoint of `interpolate` in phase.

    Co-sited chroma takes a triangle (1/4, 1/2, 1/4 for factor 2), centred chroma the mean of its `factor` samples.

    Args:
        samples: float tensor of any shape; ceil(size / factor) remain of its size in `dim`.
        dim: -1 (horizontal) or -2 (vertical).
    """
    if factor == 1:
        return samples
    if is_cosited:
        taps = {distance: (factor - abs(distance)) / factor**2 for distance in range(1 - factor, factor)}
    else:
        taps = dict.fromkeys(range(factor), 1 / factor)
    # The tap at distance 0 never leaves the picture; the others meet an edge.
    result = _stride(samples, dim, 0, factor) * taps.pop(0)
    for distance, weight in taps.items():
        _add_tap(result, samples, dim, factor, distance, weight)
    return result


def restore(samples: Tensor, dim: int) -> Tensor:
    """Undo `interpolate` by factor 2 with centred chroma: exact, but for what rounding took in between.

    Where c are the samples sought and u the given ones, u[2i] = (c[i-1] + 3 c[i]) / 4, u[2i+1] = (3 c[i] + c[i+1]) / 4;
    hence c[i] = 3/4 (u[2i] + u[2i+1]) - 1/4 (u[2i-1] + u[2i+2]), at the edges too, since those are repeated.

    Args:
        samples: float tensor of any shape, of even size in `dim`; half of that remains.
        dim: -1 (horizontal) or -2 (vertical).
    """
    first, second = _stride(samples, dim, 0, 2), _stride(samples, dim, 1, 2)
    count = first.size(dim)
    before = torch.cat((first.narrow(dim, 0, 1), second.narrow(dim, 0, count - 1)), dim)
    after = torch.cat((first.narrow(dim, 1, count - 1), second.narrow(dim, count - 1, 1)), dim)
    return (first + second) * 0.75 - (before + after) * 0.25


def _add_tap(result: Tensor, samples: Tensor, dim: int, factor: int, distance: int, weight: float) -> None:
    """Add weight * samples[factor * i + distance] to result[i], with the nearest sample where that is outside."""
    size, count = samples.size(dim), result.size(dim)
    first = min(count, max(0, -(distance // factor)))
    last = max(first, min(count, (size - 1 - distance) // factor + 1))
    if first:
        result.narrow(dim, 0, first).add_(samples.narrow(dim, 0, 1), alpha=weight)
    if last > first:
        inside = _stride(samples, dim, factor * first + distance, factor).narrow(dim, 0, last - first)
        result.narrow(dim, first, last - first).add_(inside, alpha=weight)
    if last < count:
        result.narrow(dim, last, count - last).add_(samples.narrow(dim, size - 1, 1), alpha=weight)


def _stride(samples: Tensor, dim: int, start: int, step: int) -> Tensor:
    return samples[..., start::step] if dim == -1 else samples[..., start::step, :]
