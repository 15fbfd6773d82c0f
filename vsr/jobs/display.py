"""What a batch tells the screen: a bar for each film at work on a terminal, and a line for each that ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from vsr.jobs.job import Job, State
from vsr.progress import printable

__all__ = ["Display"]


class Display:
    """Bars and lines on stderr; bars only where that is a terminal. A context manager, which takes the bars away.

    Hands, who work on films, are numbered from 0: each has its bar, and below them one counts the films.

    Args:
        num_hands: who work on films.
        counts: the films of the batch, by state.
        is_quiet: warnings and failures alone are told.
    """

    def __init__(self, num_hands: int, counts: Mapping[State, int], *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._has_bars = not is_quiet and sys.stderr.isatty()
        self._bars: dict[int, Any] = {}
        self._films = self._make_bar(
            num_hands, "films", total=sum(counts.values()), initial=counts[State.DONE], unit=" films"
        )

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._bars):
            self._bars.pop(number).close()
        if self._films is not None:
            self._films.close()
            print("\r", end="", file=sys.stderr, flush=True)  # tqdm leaves the cursor where its lowest bar ended

    def begin(self, number: int, job: Job) -> None:
        """A hand begins a job."""
        bar = self._make_bar(number, job.source.name, total=None, unit=" frames")
        if bar is not None:
            self._bars[number] = bar

    def start(self, number: int, done: int, total: int | None) -> None:
        """The film is known: `done` of its frames an earlier run has made."""
        if (bar := self._bars.get(number)) is not None:
            bar.initial = bar.n = done  # the rate counts from there
            bar.total = total
            bar.unpause()  # the network was loaded until now
            bar.refresh()

    def advance(self, number: int, done: int, total: int | None, note: str) -> None:
        """So many frames are done."""
        if (bar := self._bars.get(number)) is not None:
            bar.total = total if total is None or done <= total else None
            bar.set_postfix_str(note, refresh=False)
            bar.update(done - bar.n)

    def end(self, number: int, job: Job) -> None:
        """The hand is through with a job, as it stands now."""
        if (bar := self._bars.pop(number, None)) is not None:
            bar.close()
        if job.state in (State.DONE, State.FAILED) and self._films is not None:
            self._films.update(1)
        name = job.source.name
        if job.state is State.DONE:
            for warning in (job.report or {}).get("warnings", ()):
                self._say(f"vsr: note: {name}: {warning}")
            if job.is_damaged:
                self._say(f"vsr: {name} is damaged: what could be decoded is in {str(job.output)!r}")
                self._say("hint: allow_corrupt counts it as done nevertheless")
            if not self._is_quiet:
                self._say(_describe_done(job))
        elif job.error is not None:
            again = " (to be tried again)" if job.state is State.WAITING else ""
            self._say(f"vsr: {'' if name in job.error else f'{name}: '}{job.error}{again}")
            if job.hint and job.state is State.FAILED:
                self._say(f"hint: {job.hint}")

    def stopping(self) -> None:
        """Somebody has asked for the end, and films are at work."""
        if not self._is_quiet:
            self._say("vsr: stopping after the group of pictures at hand; a second signal stops at once")

    def _make_bar(self, position: int, title: str, **options: Any) -> Any:
        if not self._has_bars:
            return None
        from tqdm import tqdm

        return tqdm(
            desc=printable(title), position=position, leave=False, dynamic_ncols=True, file=sys.stderr, smoothing=0.1,
            mininterval=0.2, **options,
        )  # fmt: skip

    def _say(self, line: str) -> None:
        if self._has_bars:
            from tqdm import tqdm

            tqdm.write(printable(line), file=sys.stderr)  # above the bars
        else:
            print(printable(line), file=sys.stderr, flush=True)


def _describe_done(job: Job) -> str:
    report = job.report
    if report is None:
        return f"{job.output}: finished by a run that was killed right after"
    width, height = report["size_out"]
    resumed = f" ({report['frames_resumed']} made before)" if report["frames_resumed"] else ""
    return (
        f"{job.output}: {report['frames_out']} frames{resumed}, {width}x{height}, {report['seconds']:.1f} s "
        f"({report['fps']:.2f} frames/s), verified"
    )
