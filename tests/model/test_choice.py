"""The fastest form is taken, if it does what the first one does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vsr.errors import Interrupted
from vsr.model.choice import Form, Run, choose_fastest

FRAMES = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def double(frames_BCHW: Tensor) -> Tensor:
    return frames_BCHW * 2


def also_double(frames_BCHW: Tensor) -> Tensor:
    return frames_BCHW + frames_BCHW


def slightly_off(frames_BCHW: Tensor) -> Tensor:
    return frames_BCHW * 2.002


def wrong(frames_BCHW: Tensor) -> Tensor:
    return (frames_BCHW * 2).roll(1, -1)


def not_a_number(frames_BCHW: Tensor) -> Tensor:
    return frames_BCHW * torch.nan


def smaller(frames_BCHW: Tensor) -> Tensor:
    return frames_BCHW[..., 1:] * 2


def choose(seconds: dict[Run, float], *forms: Form, **options: object) -> tuple[Run, list[str]]:
    told: list[str] = []
    made = [Form(run.__name__, lambda run=run: run) for run in seconds]  # type: ignore[attr-defined,misc]
    chosen = choose_fastest(
        [*made, *forms],
        FRAMES,
        measure=lambda run, _: seconds[run],
        tell=told.append,
        **options,  # type: ignore[arg-type]
    )
    return chosen, told


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({double: 1.0}, double),
        ({double: 1.0, also_double: 0.5}, also_double),
        ({double: 0.5, also_double: 1.0}, double),
        ({double: 1.0, also_double: 0.99}, double),
        ({double: 1.0, also_double: 0.5, slightly_off: 0.3}, slightly_off),
        ({double: 1.0, also_double: 0.3, slightly_off: 0.5}, also_double),
    ],
)
def test_the_fastest_is_taken(seconds: dict[Run, float], expected: Run) -> None:
    assert choose(seconds) == (expected, [])


@pytest.mark.parametrize("broken", [wrong, not_a_number, smaller])
def test_a_form_that_differs_is_dropped_and_said(broken: Run) -> None:
    chosen, told = choose({double: 1.0, broken: 0.1, also_double: 0.5})
    assert chosen is also_double
    assert len(told) == 1
    assert told[0].startswith(f"{broken.__name__} differs from double by")  # type: ignore[attr-defined]


def raising(error: BaseException) -> Callable[[], Run]:
    def make() -> Run:
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImportError("no compiler\nwith details"), "ImportError: no compiler)"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "(out of memory)"),
        (AssertionError(), "(AssertionError)"),
    ],
)
def test_a_form_that_fails_is_dropped_and_said(error: Exception, reason: str) -> None:
    chosen, told = choose({double: 1.0}, Form("the new one", raising(error)))
    assert chosen is double
    assert len(told) == 1
    assert reason in told[0]
    assert told[0].startswith("the new one cannot be used here")


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt()])
def test_an_interruption_is_no_failure_of_a_form(error: BaseException) -> None:
    with pytest.raises(type(error)):
        choose({double: 1.0}, Form("late", raising(error)))


def test_the_first_must_work() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        choose({}, Form("torch", raising(torch.OutOfMemoryError("CUDA out of memory"))), Form("late", lambda: double))


def test_the_search_ends_when_its_time_is_up() -> None:
    times = iter([0.0, 5.0, 61.0])
    chosen, told = choose({double: 1.0, also_double: 0.5, slightly_off: 0.1}, clock=lambda: next(times))
    assert (chosen, told) == (also_double, [])
