"""A look into a file before it is taken: is it whole, and what will its output be called?

Run as `python -m vsr.jobs.inspection` it is the process of `vsr.jobs.inspector`: one question a line on stdin, one
answer a line on stdout, both JSON. Decoders read hostile files here, and a crash takes nobody else along.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from vsr.errors import SourceError

__all__ = ["Finding", "Question", "Verdict", "inspect"]


class Verdict(StrEnum):
    """WHOLE: to be taken. UNFINISHED: not yet, something is missing. UNREADABLE: whole, and nothing of ours."""

    WHOLE = "whole"
    UNFINISHED = "unfinished"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Question:
    """A file to look into, with what decides on its output: `codec` and `drop` as in `Settings`."""

    path: Path
    codec: str
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer.

    Attributes:
        reason: what is missing or wrong; "" of a whole file.
        suffix: of the output ("mkv" and "h264" give ".mkv"); None where the file does not tell.
    """

    path: Path
    verdict: Verdict
    reason: str = ""
    suffix: str | None = None


def inspect(question: Question) -> Finding:
    """Look at the file's outermost structure, and, if it is a film, at its header and first frames."""
    from vsr.stills.formats import is_still, output_suffix
    from vsr.video.completeness import find_shortfall

    path = question.path
    try:
        shortfall = find_shortfall(path)
    except OSError as exc:
        return Finding(path, Verdict.UNFINISHED, f"it cannot be read: {exc.strerror}")
    if shortfall:
        return Finding(path, Verdict.UNFINISHED, shortfall)
    if is_still(path):
        return Finding(path, Verdict.WHOLE, suffix=output_suffix(path))
    return _inspect_film(question)


def _inspect_film(question: Question) -> Finding:
    from vsr.video.containers import choose_container
    from vsr.video.encoding import CODERS
    from vsr.video.probe import probe

    try:
        info = probe(question.path)
        return Finding(
            question.path,
            Verdict.WHOLE,
            suffix=choose_container(info, CODERS[question.codec].coding, question.drop),
        )
    except SourceError as exc:
        return Finding(question.path, Verdict.UNREADABLE, exc.message)


def write_question(question: Question) -> bytes:
    return _write({"path": os.fspath(question.path), "codec": question.codec, "drop": list(question.drop)})


def read_question(line: bytes) -> Question:
    values = json.loads(line)
    return Question(Path(values["path"]), values["codec"], tuple(values["drop"]))


def write_finding(finding: Finding) -> bytes:
    return _write(asdict(finding) | {"path": os.fspath(finding.path)})


def read_finding(line: bytes) -> Finding:
    values = json.loads(line)
    return Finding(Path(values["path"]), Verdict(values["verdict"]), values["reason"], values["suffix"])


def _write(values: dict[str, Any]) -> bytes:
    # ASCII: names that are no UTF-8 pass as lone surrogates.
    return json.dumps(values).encode("ascii") + b"\n"


def _answer(questions: Iterable[bytes]) -> None:
    # What libraries print goes to stderr; the answers keep the real stdout to themselves.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    with answers:
        for line in questions:
            answers.write(write_finding(inspect(read_question(line))))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the daemon's to deal with
    _answer(sys.stdin.buffer)
