"""The forms that a network takes on one device: made when first asked for, kept, and shared by all who use them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vsr.errors import ProcessingError
from vsr.model.calibration import compare_speed, measure_distance, measure_ranges
from vsr.model.compact import Compact
from vsr.model.network import Network
from vsr.model.placement import Engine, PlacedModule, place_network
from vsr.model.precision import Precision, choose_precision
from vsr.planar import PlaneCodes

__all__ = ["MIN_INT8_PSNR", "Calibration", "Forms"]

# What int8 may differ from fp32, in dB of PSNR.
MIN_INT8_PSNR = 40.0


@dataclass(frozen=True)
class Calibration:
    """How int8 came out.

    Attributes:
        psnr_db: of the pictures kept for comparing, against fp32.
        speedup: how many times as fast as the precision that `auto` takes here, roughly.
        num_samples: pictures looked at, those included.
    """

    psnr_db: float
    speedup: float
    num_samples: int


class Forms:
    """Network + device + engine; any number of threads may ask it.

    Args:
        before_layer, tell: as `place_network` takes them.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        engine: Engine,
        before_layer: Callable[..., Any],
        tell: Callable[[str], None],
    ) -> None:
        self._network, self._device, self._engine = network, device, engine
        self._before_layer, self._tell = before_layer, tell
        self._placed: dict[tuple[Precision, PlaneCodes | None, Engine], PlacedModule] = {}
        self._ranges: tuple[float, ...] | None = None
        self._placing = threading.RLock()

    def place(self, precision: Precision, codes: PlaneCodes | None = None) -> PlacedModule:
        """The network in that precision, for pictures, or for planes of those codes."""
        return self._place(precision, codes, self._engine)

    def place_reference(self, codes: PlaneCodes | None = None) -> PlacedModule:
        """torch's in fp32: what the others are measured against, and what frames are repeated in."""
        return self._place("fp32", codes, "torch")

    def _place(self, precision: Precision, codes: PlaneCodes | None, engine: Engine) -> PlacedModule:
        key = (precision, codes, engine)
        with self._placing:
            if key not in self._placed:
                self._placed[key] = place_network(
                    self._network, self._device, precision, self._before_layer, self._tell,
                    codes=codes, engine=engine, ranges=self._ranges,
                )  # fmt: skip
            return self._placed[key]

    def ensure_calibration(self, frames_BCHW: Tensor) -> None:
        """Where nobody has calibrated int8 yet, do it on the frames at hand."""
        with self._placing:
            if self._ranges is None:
                self.calibrate([frames_BCHW[:1]])

    def calibrate(self, samples: Sequence[Tensor]) -> Calibration:
        """Fit int8 to some pictures, and compare it with fp32.

        Args:
            samples: B,3,H,W float32 RGB 0..1 each, at least one. Every other one is kept for comparing.

        Raises:
            ProcessingError: int8 is less than 40 dB (PSNR of the finished pictures) from fp32.
        """
        compact = self._network.module
        assert isinstance(compact, Compact)
        with self._placing:
            self._forget_ranges()
            self._ranges = measure_ranges(compact, samples[::2])
            int8, exact = self.place("int8").module, self.place_reference().module
            distance = measure_distance(int8, exact, samples[1::2] or samples)
        if distance < MIN_INT8_PSNR:
            self._forget_ranges()  # whoever tries again is refused again
            raise ProcessingError(
                f"{self._network.name} in int8 is {distance:.1f} dB from fp32 on these pictures,"
                f" less than {MIN_INT8_PSNR:.0f}",
                hint="use --precision auto",
            )
        usual = self._place(choose_precision("auto", self._device), None, "torch").module
        return Calibration(distance, compare_speed(int8, usual, samples[0]), len(samples))

    def _forget_ranges(self) -> None:
        with self._placing:
            self._ranges = None
            for key in [key for key in self._placed if key[0] == "int8"]:
                del self._placed[key]
