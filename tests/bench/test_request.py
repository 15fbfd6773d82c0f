"""What may be asked for."""

from __future__ import annotations

import pytest

from vsr.bench.request import PARTS, Request
from vsr.errors import UsageError


def test_everything_is_measured_unless_said_otherwise() -> None:
    assert Request().parts == PARTS == ("ceiling", "networks", "stages", "river", "peer")


@pytest.mark.parametrize(
    ("wrong", "word"),
    [({"num_frames": 0}, "--frames 0"), ({"num_runs": -1}, "--runs -1"), ({"parts": ("lake",)}, "lake")],
)
def test_wrong_requests_name_what_is_wrong(wrong: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Request(**wrong)  # type: ignore[arg-type]
