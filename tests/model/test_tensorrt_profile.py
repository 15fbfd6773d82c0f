"""Ranges of picture sizes, and the line for trtexec."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.model.tensorrt_profile import Shape, ShapeProfile, trtexec_command

shapes = st.tuples(st.integers(1, 4), st.integers(1, 50), st.integers(1, 50))


@given(shape=shapes, other=shapes)
def test_a_profile_holds_what_is_within_it(shape: Shape, other: Shape) -> None:
    profile = ShapeProfile.up_to(shape)
    assert profile.holds(shape)
    assert profile.holds((1, 1, 1))
    assert profile.holds(other) == all(a <= b for a, b in zip(other, shape, strict=True))


@given(shape=shapes, other=shapes)
def test_a_grown_profile_holds_the_old_and_the_new_and_no_more_than_it_must(shape: Shape, other: Shape) -> None:
    grown = ShapeProfile.up_to(shape).grown(other)
    assert grown.holds(shape)
    assert grown.holds(other)
    assert grown.optimum == other
    assert grown.maximum == tuple(map(max, shape, other))


@pytest.mark.parametrize("minimum", [(1, 1, 9), (0, 1, 1)])
def test_what_is_no_range_is_refused(minimum: Shape) -> None:
    with pytest.raises(ValueError, match="no range of shapes"):
        ShapeProfile(minimum, (1, 8, 8), (1, 8, 8))


def test_the_line_is_one_that_a_shell_takes_apart_again() -> None:
    profile = ShapeProfile((1, 8, 8), (2, 90, 160), (4, 180, 320))
    line = trtexec_command(Path("my films/a'b.onnx"), 10, profile)
    assert shlex.split(line) == [
        "trtexec",
        "--onnx=my films/a'b.onnx",
        "--saveEngine=my films/a'b.engine",
        "--stronglyTyped",
        "--minShapes=input:1x3x8x8",
        "--optShapes=input:2x3x90x160",
        "--maxShapes=input:4x3x180x320",
    ]
    assert trtexec_command(Path("a.onnx"), 11, profile).split()[:4] == [
        "trtexec", "--onnx=a.onnx", "--saveEngine=a.engine", "--minShapes=input:1x3x8x8",
    ]  # fmt: skip
