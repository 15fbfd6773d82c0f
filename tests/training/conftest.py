"""What the tests of training share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quick_matrix_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small product stands for the machine's rate: the large one takes twice as long as a whole tiny training."""
    monkeypatch.setattr("vsr.model.speed._SIDE_CPU", 64)
