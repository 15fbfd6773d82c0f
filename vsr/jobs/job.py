"""One film to be made larger, as the ledger knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = ["Job", "State"]


class State(StrEnum):
    """Where a job stands.

    waiting ── claim ──► working ── finish ──► done
       ▲                    │
       └── release, ────────┼── fail ────────► failed (or waiting, where it is to be tried again)
           recover          └── cancel, pause ► cancelled, paused
    """

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Job:
    """One film, where it goes, and how far it is. A snapshot: the ledger is the truth.

    Only `source`, `output` and `settings` are the caller's to give; the ledger fills in the rest.

    Attributes:
        source, output: absolute paths of files.
        settings: what `Settings.from_options` takes, "preset" included, as plain JSON values.
        id: its number in the ledger; 0 before it is there.
        batch: the batch that it belongs to; "" where the ledger holds but one kind of work.
        state: see `State`.
        attempts: how often it was begun and not interrupted; the attempt under way counts.
        not_before: seconds since the epoch, before which it is not to be claimed.
        rank: its place in the queue; smaller comes first, then the smaller id.
        owner: who works on it, see `vsr.jobs.owner`; None where nobody does.
        error, hint: what went wrong at the last attempt, and the way out.
        report: what the run reported (`Report.as_dict`); None before it is done, or where the run died just after
            the output was there.
        added, began, ended: seconds since the epoch.
        frames_done, frames_total: how far the work is; None where nobody knows.
        source_print, output_print: what the files were when the work began and when it ended; see
            `vsr.jobs.fingerprint`.
        output_appeared: the attempt before this one was cut short by the death of its process, and has left the output
            under its final name: complete, therefore, and there is nothing to do but to `finish` the job.
    """

    source: Path
    output: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0
    batch: str = ""
    state: State = State.WAITING
    attempts: int = 0
    not_before: float = 0.0
    rank: float = 0.0
    owner: str | None = None
    error: str | None = None
    hint: str | None = None
    report: dict[str, Any] | None = None
    added: float | None = None
    began: float | None = None
    ended: float | None = None
    frames_done: int | None = None
    frames_total: int | None = None
    source_print: str | None = None
    output_print: str | None = None
    output_appeared: bool = False

    @property
    def is_damaged(self) -> bool:
        """Done, but its source was broken, so that pictures may be missing, and the settings do not allow that."""
        has_damage = self.state is State.DONE and self.report is not None and self.report["damaged"]
        return bool(has_damage and not self.settings.get("allow_corrupt"))
