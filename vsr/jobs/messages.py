"""What a crew and its workers tell each other: orders one way, events the other, each one line of JSON."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsr.jobs.failure import Failure
from vsr.settings import Settings

__all__ = [
    "Advanced",
    "Began",
    "Event",
    "Failed",
    "Finished",
    "Order",
    "Previewed",
    "read_event",
    "read_order",
    "write_event",
    "write_order",
]


@dataclass(frozen=True, slots=True)
class Order:
    """One film or picture to be made.

    Attributes:
        job_id: comes back with every event.
        source, output: as `vsr.api.upscale` takes them.
        settings: what `Settings.from_options` takes: fields of `Settings`, and "preset". Values are those of JSON, and
            fractions.
    """

    job_id: int
    source: Path
    output: Path
    settings: dict[str, Any]

    def read_settings(self, device: str = "auto") -> Settings:
        """The settings, checked.

        Args:
            device: where to work, whatever they say; "auto": where they say.

        Raises:
            SettingsError: an unknown key, or a value out of range.
        """
        values = self.settings | ({} if device == "auto" else {"device": device})
        for name in ("start", "duration"):
            if re.fullmatch(r"\d+/[1-9]\d*", str(values.get(name))):
                values[name] = Fraction(values[name])  # as `write_order` left it
        return Settings.from_options(**values)


@dataclass(frozen=True, slots=True)
class Began:
    """The first event of a job that gets so far as to know its film.

    Attributes:
        total: frames to expect, None where nobody knows.
        done: of these an earlier run has made already.
    """

    job_id: int
    total: int | None
    done: int = 0


@dataclass(frozen=True, slots=True)
class Advanced:
    """So many frames are done by now; at most five of these come in a second, and one after the last frame.

    Attributes:
        note: what else is to be said: which stage is the slowest, how far a download has come.
    """

    job_id: int
    done: int
    total: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Previewed:
    """A picture before and after.

    Attributes:
        time: its presentation time in the film, seconds.
        before_jpeg, after_jpeg: whole JPEG files, each of its own size; see `vsr.pipeline.preview`.
    """

    job_id: int
    time: float
    before_jpeg: bytes
    after_jpeg: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a job that went well: the output is complete and has its name.

    Attributes:
        report: `vsr.pipeline.report.Report.as_dict`.
    """

    job_id: int
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of any other job."""

    job_id: int
    failure: Failure


Event = Began | Advanced | Previewed | Finished | Failed

_EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in (Began, Advanced, Previewed, Finished, Failed)}
_BINARY = ("before_jpeg", "after_jpeg")


def write_order(order: Order) -> dict[str, Any]:
    """As values of JSON."""
    settings = {key: str(value) if isinstance(value, Fraction) else value for key, value in order.settings.items()}
    return {"job_id": order.job_id, "source": str(order.source), "output": str(order.output), "settings": settings}


def read_order(values: dict[str, Any]) -> Order:
    """What `write_order` wrote."""
    return Order(values["job_id"], Path(values["source"]), Path(values["output"]), values["settings"])


def write_event(event: Event) -> bytes:
    """One line, with its end."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    for name in _BINARY & values.keys():
        values[name] = base64.b64encode(values[name]).decode()
    if isinstance(event, Failed):
        failure = event.failure
        values["failure"] = {field.name: getattr(failure, field.name) for field in fields(failure)}
    return json.dumps({"event": type(event).__name__} | values).encode() + b"\n"


def read_event(line: bytes) -> Event | None:
    """What `write_event` wrote; None for anything else: some library's own words."""
    try:
        values = json.loads(line)
        kind = _EVENTS[values.pop("event")]
        for name in _BINARY & values.keys():
            values[name] = base64.b64decode(values[name])
        if kind is Failed:
            values["failure"] = Failure(**values["failure"])
        return kind(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
