"""What a run tells the screen while it works."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Progress", "ScreenProgress", "SilentProgress", "printable", "show_download"]


def printable(text: str) -> str:
    """`text` without what a terminal would obey: control characters and lone surrogates are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


class Progress(Protocol):
    """Hears about the work under way; called by one thread."""

    def start(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        """A task of `total` units begins (None: nobody knows how many), `done` of which an earlier run has done."""

    def tell(self, text: str) -> None:
        """Something that users should know now, and not only when the task is over."""

    def advance(self, amount: int, note: str = "") -> None:
        """`amount` more units are done; `note` is shown beside the bar."""

    def finish(self) -> None:
        """The task is over, well or not."""


def show_download(progress: Progress, name: str) -> Callable[[int, int], None]:
    """A function of (bytes done, bytes in all) that tells `progress` of a download."""
    seen = 0

    def advance(done: int, total: int) -> None:
        nonlocal seen
        if seen == 0:
            progress.start(f"downloading {name}", total, "B")
        progress.advance(done - seen)
        seen = done

    return advance


class SilentProgress:
    """Says nothing."""

    def start(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        pass

    def tell(self, text: str) -> None:
        pass

    def advance(self, amount: int, note: str = "") -> None:
        pass

    def finish(self) -> None:
        pass


class ScreenProgress:
    """A tqdm bar on stderr with rate and time left; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> ScreenProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def start(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        from tqdm import tqdm

        self.finish()
        is_bytes = unit == "B"
        self._bar = tqdm(
            total=total, initial=done, desc=printable(title), unit=unit if is_bytes else f" {unit}",
            unit_scale=is_bytes, dynamic_ncols=True, disable=not sys.stderr.isatty(), file=sys.stderr, smoothing=0.1,
            mininterval=0.2,
        )  # fmt: skip

    def tell(self, text: str) -> None:
        self.finish()
        print(f"vsr: note: {printable(text)}", file=sys.stderr, flush=True)

    def advance(self, amount: int, note: str = "") -> None:
        if self._bar is None:
            return
        if self._bar.total is not None and self._bar.n + amount > self._bar.total:
            self._bar.total = None  # it was an estimate, and too small
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
