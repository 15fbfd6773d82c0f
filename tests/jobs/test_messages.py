from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.errors import SettingsError
from vsr.jobs.failure import Failure
from vsr.jobs.messages import (
    Advanced,
    Began,
    Event,
    Failed,
    Finished,
    Order,
    Previewed,
    read_event,
    read_order,
    write_event,
    write_order,
)
from vsr.settings import Settings

numbers = st.integers(0, 2**53)
texts = st.text()  # any, also what breaks lines and terminals
events = st.one_of(
    st.builds(Began, numbers, st.none() | numbers, numbers),
    st.builds(Advanced, numbers, numbers, st.none() | numbers, texts),
    st.builds(Previewed, numbers, st.floats(allow_nan=False), st.binary(), st.binary()),
    st.builds(Finished, numbers, st.dictionaries(texts, texts | numbers | st.none() | st.lists(texts))),
    st.builds(Failed, numbers, st.builds(Failure, texts, texts, st.none() | texts, st.booleans(), st.booleans())),
)


@given(event=events)
def test_an_event_is_one_line_and_comes_back_equal(event: Event) -> None:
    line = write_event(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert read_event(line) == event


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"hello\n", b"\xff\xfe\n", b"[]\n", b"3\n", b"null\n", b"{}\n", b'{"event": "Began"}\n',
        b'{"event": "Nothing", "job_id": 1}\n', b'{"event": ["Began"]}\n', b'{"event": "Failed", "job_id": 1}\n',
        b'{"event": "Began", "job_id": 1, "total": 1, "more": 1}\n',
        b'{"event": "Previewed", "job_id": 1, "time": 0, "before_jpeg": "a", "after_jpeg": ""}\n',
    ],
)  # fmt: skip
def test_other_lines_are_no_events(line: bytes):
    assert read_event(line) is None


def test_an_order_goes_through_json():
    settings = {"preset": "film", "start": Fraction(1001, 24000), "duration": "1:30", "drop": ["data"], "crf": None}
    order = Order(7, Path("/films/\udcff a\nb.mkv"), Path("out.mp4"), settings)
    returned = read_order(json.loads(json.dumps(write_order(order))))
    assert (returned.job_id, returned.source, returned.output) == (7, order.source, order.output)
    assert returned.read_settings() == Settings.from_options(**settings)
    assert returned.read_settings().start == Fraction(1001, 24000)


def test_the_device_given_wins_over_the_settings():
    order = Order(1, Path("a"), Path("b"), {"device": "cuda:1"})
    assert order.read_settings("cpu").device == "cpu"
    assert order.read_settings("auto").device == "cuda:1"


@pytest.mark.parametrize(
    "settings", [{"modle": "fast"}, {"crf": 99}, {"preset": "none of these"}, {"start": "1/x"}, {"start": "1/0"}]
)
def test_wrong_settings_are_refused(settings: dict[str, object]):
    with pytest.raises(SettingsError):
        Order(1, Path("a"), Path("b"), settings).read_settings()
