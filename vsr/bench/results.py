"""All figures of one bench."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from vsr.bench.clip import Clip
from vsr.bench.networks import NetworkSpeed
from vsr.bench.peer import Peer
from vsr.bench.river import River
from vsr.bench.spread import Spread
from vsr.bench.stages import Stages

__all__ = ["Results"]


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured; None stands for what was not asked for.

    Attributes:
        machine: as `describe_machine` has it.
        run: what stages, river and peer do: model, scale, precision, engine, size_out (width, height), encoder (and
            its options).
        num_runs: of every figure (of a network alone, as many times five calls).
        ceiling: FLOP per second of matrix products, by precision.
    """

    machine: dict[str, Any]
    clip: Clip
    run: dict[str, Any]
    num_runs: int
    ceiling: dict[str, Spread] | None
    networks: list[NetworkSpeed] | None
    stages: Stages | None
    river: River | None
    peer: Peer | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; figures have four significant digits, infinite ones are None."""
        values: dict[str, Any] = _to_plain(self)
        return values

    def spreads(self) -> dict[str, Spread]:
        """Every figure of several runs, by what it is the figure of."""
        found: dict[str, Spread] = {}
        if self.ceiling is not None:
            found |= {f"matrix product in {name}": rate for name, rate in self.ceiling.items()}
        if self.networks is not None:
            found |= {f"{network.name} alone": network.milliseconds for network in self.networks}
        if self.stages is not None:
            found |= {f"{name.replace('_', ' ')} alone": one for name, one in self.stages.milliseconds.items()}
        if self.river is not None:
            found["the river"] = self.river.milliseconds
        if self.peer is not None:
            peer = self.peer
            found |= {"the river": peer.vsr_film, "the plain loop": peer.plain_film}
            found |= {"the plain network": peer.plain_network, "vsr's network beside it": peer.vsr_network}
            found |= {"the ratio end to end": peer.ratio_film, "the ratio of the networks": peer.ratio_network}
        return found


def _to_plain(value: Any) -> Any:
    if isinstance(value, Spread):
        return {name: _to_plain(getattr(value, name)) for name in ("median", "least", "greatest", "noise")}
    if is_dataclass(value):
        return {field.name: _to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: _to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
