"""Pictures that stay on a GPU for its encoder: a fixed ring of surfaces, since NVENC registers each address once.

Not yet run on a GPU: H100 and H200 have no NVENC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

__all__ = ["Surfaces"]


class Surfaces:
    """Surfaces of 3H/2,W samples, luma above, both chroma components in turn below.

    Args:
        num_surfaces: more than can be in use at a time: those that the encoder holds, and those on their way to it.
        allocate: makes one, for a shape like that of luma.
    """

    def __init__(self, num_surfaces: int, allocate: Callable[[Tensor], Tensor]) -> None:
        self._num_surfaces, self._allocate = num_surfaces, allocate
        self._made: list[Tensor] = []
        self._num_taken = 0

    def fill(self, components: Sequence[Tensor]) -> Tensor:
        """The next surface of the ring with a picture of Y, Cb, Cr in it, chroma at half size both ways.

        The copies are queued on the current stream.
        """
        if len(self._made) < self._num_surfaces:
            self._made.append(self._allocate(components[0]))
        surface = self._made[self._num_taken % self._num_surfaces]
        self._num_taken += 1
        return self.refill(surface, components)

    def refill(self, surface: Tensor, components: Sequence[Tensor]) -> Tensor:
        """The same surface with another picture."""
        luma, blueness, redness = components
        height, width = luma.shape
        surface[:height].copy_(luma)
        chroma = surface[height:].view(height // 2, width // 2, 2)
        chroma[..., 0].copy_(blueness)
        chroma[..., 1].copy_(redness)
        return surface
