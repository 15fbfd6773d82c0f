"""A job as a row of the ledger's table, and back."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from vsr.jobs.job import Job, State

__all__ = ["SCHEMA", "VERSION", "read_job", "write_json", "write_path", "write_text"]

VERSION = 1

# Paths are bytes: names on a disk need not be UTF-8. Ranks differ among jobs that are not over.
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source BLOB NOT NULL,
    output BLOB NOT NULL,
    settings TEXT NOT NULL,
    batch TEXT NOT NULL,
    is_listed INTEGER NOT NULL DEFAULT 1,
    state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    rank REAL NOT NULL,
    owner TEXT,
    error TEXT,
    hint TEXT,
    report TEXT,
    added REAL NOT NULL,
    began REAL,
    ended REAL,
    frames_done INTEGER,
    frames_total INTEGER,
    source_print TEXT,
    output_print TEXT,
    output_before TEXT,
    is_cut_short INTEGER NOT NULL DEFAULT 0,
    UNIQUE (source, output)
);
CREATE INDEX IF NOT EXISTS queue ON jobs (state, rank, id, not_before, batch);
CREATE INDEX IF NOT EXISTS members ON jobs (batch, state);
"""


def read_job(row: sqlite3.Row) -> Job:
    """The job of a row of `jobs`."""
    plain = (
        "id", "batch", "attempts", "not_before", "rank", "owner", "error", "hint", "added", "began", "ended",
        "frames_done", "frames_total", "source_print", "output_print",
    )  # fmt: skip
    return Job(
        source=Path(os.fsdecode(row["source"])),
        output=Path(os.fsdecode(row["output"])),
        settings=json.loads(row["settings"]),
        state=State(row["state"]),
        report=None if row["report"] is None else json.loads(row["report"]),
        output_appeared=row["state"] == State.WORKING and bool(row["is_cut_short"]),
        **{name: row[name] for name in plain},
    )


def write_path(path: Path) -> bytes:
    """A path as the table has it."""
    return os.fsencode(path)


def write_json(value: Any) -> str:
    """JSON in one form for equal values, so that texts can be compared."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def write_text(text: str | None) -> str | None:
    """`text` without lone surrogates, which messages about odd file names have, and SQLite refuses."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")
