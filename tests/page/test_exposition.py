from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from boards import BoardInMemory
from site_client import SiteClient
from vsr.page.exposition import expose

# The grammar of the text format 0.0.4, line by line.
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(
    rf"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{{{LABEL}(?:,{LABEL})*\}})? (?:[-+]?[0-9.]+(?:e[-+]?\d+)?|NaN|[+-]Inf)"
)
HELP = re.compile(r"# HELP [a-zA-Z_:][a-zA-Z0-9_:]* \S.*")
TYPE = re.compile(r"# TYPE [a-zA-Z_:][a-zA-Z0-9_:]* (?:counter|gauge)")


def test_served_as_the_format(client: SiteClient, board: BoardInMemory):
    board.add("a.mp4")
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'vsr_jobs{state="waiting"} 1\n' in answer.text
    assert "# TYPE vsr_frames_total counter\nvsr_frames_total 1234\n" in answer.text
    assert "vsr_pages_open 0\n" in answer.text


@pytest.mark.parametrize(
    ("name", "label"),
    [("a.mp4", "a.mp4"), ('say "cheese".mp4', r"say \"cheese\".mp4"), ("a\\b.mp4", r"a\\b.mp4"),
     ("a\nb.mp4", r"a\nb.mp4"), ("no text \udc80.mp4", r"no text \\udc80.mp4")],
)  # fmt: skip
def test_names_are_escaped(tmp_path: Path, name: str, label: str):
    board = BoardInMemory(tmp_path)
    id = board.add(name)
    board.begin(id, total=200)
    board.advance(id, done=50, fps=12.5, eta_seconds=12)
    text = expose(board.snapshot(), {"odd": math.inf, "strange_total": math.nan})
    assert f'vsr_film_frames_per_second{{film="{label}"}} 12.5\n' in text
    assert "vsr_odd +Inf\n" in text
    assert "vsr_strange_total NaN\n" in text
    text.encode("utf-8")
    lines = text.removesuffix("\n").split("\n")
    assert [
        line for line in lines if not (SAMPLE.fullmatch(line) or HELP.fullmatch(line) or TYPE.fullmatch(line))
    ] == []
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def test_what_is_not_known_is_left_out(tmp_path: Path):
    board = BoardInMemory(tmp_path)
    board.begin(board.add("a.mp4"), total=None)
    text = expose(board.snapshot(), {})
    assert "vsr_film_frames_done" in text
    assert "vsr_film_frames_per_second" not in text
    assert not re.search(r"vsr_film_frames\{", text)
