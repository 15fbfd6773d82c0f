"""What a run leaves written: losses and scores as JSON lines, and TensorBoard's files where it is installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vsr.training.checkpoint import explain_failure, replace_file

__all__ = ["Logbook"]


class Logbook:
    """`losses.jsonl`, `scores.jsonl` and `tensorboard/` in the folder of a run.

    No time is written into `losses.jsonl`: two runs of one recipe leave the same bytes there.

    Args:
        folder: of the run.
        start: step at which the run begins or goes on; later lines of an earlier attempt are taken out.
        tensorboard: write its files.
        say: hears where TensorBoard is missing.
    """

    def __init__(self, folder: Path, *, start: int, tensorboard: bool, say: Callable[[str], None]) -> None:
        self._losses, self._scores = folder / "losses.jsonl", folder / "scores.jsonl"
        for path in (self._losses, self._scores):
            _cut_lines(path, start)
        self._board = _open_board(folder / "tensorboard", start, say) if tensorboard else None

    def write(self, step: int, losses: Mapping[str, float]) -> None:
        """One line of losses, in TensorBoard as well."""
        _append(self._losses, {"step": step, **losses})
        self.chart(step, {f"loss/{name}": value for name, value in losses.items()})

    def write_scores(self, step: int, scores: Mapping[str, Mapping[str, float]], seconds: float) -> None:
        """One line of validation: set -> metric -> value."""
        _append(self._scores, {"step": step, "seconds": round(seconds, 1), **scores})
        self.chart(step, {f"{metric}/{name}": v for name, values in scores.items() for metric, v in values.items()})

    def chart(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers for TensorBoard alone."""
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def show(self, step: int, name: str, picture_CHW: Tensor) -> None:
        """A sample picture, RGB 0..1, for TensorBoard."""
        if self._board is not None:
            self._board.add_image(f"sample/{name}", picture_CHW, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _append(path: Path, line: Mapping[str, Any]) -> None:
    # One write for one line: whoever reads while the training runs never sees half of it.
    try:
        with path.open("ab", buffering=0) as file:
            file.write((json.dumps(line) + "\n").encode())
    except OSError as exc:
        raise explain_failure(path, exc) from exc


def _cut_lines(path: Path, start: int) -> None:
    """Leave out the lines after step `start`, and what is no whole line."""
    if not path.is_file():
        return
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if text.endswith("\n") and json.loads(text)["step"] <= start:
                kept.append(text)
        except (ValueError, KeyError, TypeError):
            continue
    content = "".join(kept).encode()
    replace_file(path, lambda file: file.write(content))


def _open_board(folder: Path, start: int, say: Callable[[str], None]) -> Any:
    try:
        tensorboard = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        say("TensorBoard is not installed: losses.jsonl and scores.jsonl only (pip install 'vsr[train]')")
        return None
    return tensorboard.SummaryWriter(str(folder), purge_step=start)
