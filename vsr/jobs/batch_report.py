"""What became of a batch: totals, a table for people, one object for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, TextIO

from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger
from vsr.progress import printable

__all__ = ["BatchReport", "Totals"]

# Of longer batches the table has what is not in order; the rest is counted.
MAX_ROWS = 100
SKIPPED = "skipped"


@dataclass(slots=True)
class Totals:
    """Sums over the films of a batch.

    Attributes:
        films: of the batch.
        states: how many are "done" by this run or meanwhile, "skipped" (done before, and unchanged), "failed",
            "waiting" (interrupted, or not yet begun), "working" (another process), "paused", "cancelled".
        damaged: done, but the source was broken and pictures may be missing, which was not allowed.
        frames, frames_resumed, seconds: of the films done by this run: frames in them, those of which attempts before
            the last had made, wall-clock time of the last attempts, added up.
        wall_seconds: of the run itself.
        fps: frames that were not resumed over wall_seconds.
    """

    films: int = 0
    states: dict[str, int] = field(default_factory=dict)
    damaged: int = 0
    frames: int = 0
    frames_resumed: int = 0
    seconds: float = 0.0
    wall_seconds: float = 0.0
    fps: float = 0.0


class BatchReport:
    """A batch as the ledger has it now. The films are read page by page, each time.

    Args:
        ledger, batch: where it is, and its name there.
        began: of this run, seconds since the epoch.
        notes: what else is to be said.
    """

    def __init__(self, ledger: Ledger, batch: str, began: float, notes: tuple[str, ...] = ()) -> None:
        self._ledger, self._batch, self._began, self._notes = ledger, batch, began, notes
        self.totals = self._add_up(max(0.0, time.time() - began))

    @property
    def is_all_well(self) -> bool:
        """Every film is done, from a sound source or one that may be damaged."""
        states = self.totals.states
        return states.get(State.DONE, 0) + states.get(SKIPPED, 0) == self.totals.films and not self.totals.damaged

    def write_json(self, stream: TextIO) -> None:
        """One object: batch, totals, notes, and films with input, output, state, attempts, error, hint, report."""
        head = {"batch": self._batch, "totals": asdict(self.totals), "notes": self._notes}
        stream.write(json.dumps(head).removesuffix("}") + ', "films": [')
        for number, job in enumerate(self._ledger.walk(batch=self._batch)):
            stream.write((",\n" if number else "\n") + json.dumps(self._describe(job)))
        stream.write("\n]}\n")

    def format_table(self) -> str:
        """A line for each film, and the totals below."""
        jobs: Iterator[Job] = self._ledger.walk(batch=self._batch)
        is_long = self.totals.films > MAX_ROWS
        if is_long:
            jobs = (job for job in jobs if self._name_state(job) not in (State.DONE, SKIPPED) or job.is_damaged)
        rows: list[tuple[str, ...]] = [("film", "state", "frames", "seconds", "frames/s", "output or error")]
        rows += [self._make_row(job) for job in islice(jobs, MAX_ROWS)]
        lines = _align(rows) if len(rows) > 1 else []
        return "\n".join([*lines, self._sum_up(is_long)])

    def _add_up(self, wall_seconds: float) -> Totals:
        totals = Totals(wall_seconds=round(wall_seconds, 3))
        for job in self._ledger.walk(batch=self._batch):
            state = self._name_state(job)
            totals.films += 1
            totals.states[state] = totals.states.get(state, 0) + 1
            totals.damaged += job.is_damaged
            if state == State.DONE and job.report is not None:
                totals.frames += job.report["frames_out"]
                totals.frames_resumed += job.report["frames_resumed"]
                totals.seconds += job.report["seconds"]
        totals.seconds = round(totals.seconds, 3)
        totals.fps = round((totals.frames - totals.frames_resumed) / wall_seconds, 3) if wall_seconds else 0.0
        return totals

    def _name_state(self, job: Job) -> str:
        is_old = job.state is State.DONE and (job.ended or 0.0) < self._began
        return SKIPPED if is_old else str(job.state)

    def _describe(self, job: Job) -> dict[str, Any]:
        return {
            "input": str(job.source),
            "output": str(job.output),
            "state": self._name_state(job),
            "attempts": job.attempts,
            "error": job.error,
            "hint": job.hint,
            "report": job.report,
        }

    def _make_row(self, job: Job) -> tuple[str, ...]:
        report = job.report
        state = "damaged" if job.is_damaged else self._name_state(job)
        figures = ("", "", "")
        if report is not None:
            figures = (str(report["frames_out"]), f"{report['seconds']:.1f}", f"{report['fps']:.2f}")
        last = job.error if job.error is not None else str(job.output)
        return (printable(job.source.name), state, *figures, printable(last))

    def _sum_up(self, is_long: bool) -> str:
        totals = self.totals
        words = ", ".join(f"{count} {state}" for state, count in sorted(totals.states.items()))
        damaged = f" ({totals.damaged} from damaged sources)" if totals.damaged else ""
        rest = "; --report FILE names them all" if is_long else ""
        return (
            f"{totals.films} film{'s' * (totals.films != 1)}: {words}{damaged}; {totals.frames} frames in "
            f"{totals.wall_seconds:.1f} s ({totals.fps:.2f} frames/s){rest}"
        )


def _align(rows: list[tuple[str, ...]]) -> list[str]:
    """Words to the left, figures (the three columns before the last) to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in (2, 3, 4) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
