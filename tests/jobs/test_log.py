"""One line for each event."""

from __future__ import annotations

import errno
import io
import json

from vsr.jobs.log import Log
from watching import FakeClock


def test_line_for_people_obeys_no_file_name():
    stream = io.StringIO()
    Log(stream, FakeClock()).say("done", "a\n\x1b[2J.mp4 is done", id=1)
    assert stream.getvalue() == "vsr: a\\n\\x1b[2J.mp4 is done\n"


def test_line_for_programs():
    stream = io.StringIO()
    Log(stream, FakeClock(), as_json=True).say("done", "a\n.mp4 is done", id=1, file="a\n.mp4")
    assert json.loads(stream.getvalue()) == {
        "time": 1_700_000_000.0, "event": "done", "text": "a\n.mp4 is done", "id": 1, "file": "a\n.mp4",
    }  # fmt: skip
    assert stream.getvalue().count("\n") == 1


def test_line_that_cannot_be_written_stops_nobody():
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    Log(Full(), FakeClock()).say("done", "a.mp4 is done")
