"""Which of several forms of one network is fastest here: each is tried on real frames, checked, and timed once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from vsr.errors import Interrupted
from vsr.model.memory import is_out_of_memory

__all__ = ["Form", "Run", "choose_fastest"]

Run = Callable[[Tensor], Tensor]

# Root mean square of the difference from the first form, relative to that of its result. Half precision in another
# order of summing stays below 1e-3 (60 dB); a form that reads a wrong pixel does not.
TOLERANCE = 2e-3

# A form must be better by this much to displace one before it: what is measured once is not known to the per cent.
GAIN = 0.98


@dataclass(frozen=True)
class Form:
    """One way to run a network.

    Attributes:
        name: for messages.
        make: builds it; may be slow, and may raise whatever a missing library or compiler raises.
    """

    name: str
    make: Callable[[], Run]


def choose_fastest(
    forms: Iterable[Form],
    frames_BCHW: Tensor,
    *,
    measure: Callable[[Run, Tensor], float],
    tell: Callable[[str], None],
    budget_seconds: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> Run:
    """The fastest of `forms` on `frames_BCHW`. The first is the reference, and what it raises is raised.

    A form that cannot be made or run, or whose result differs from the first one's by more than `TOLERANCE`, is dropped
    with a word to `tell`; one that runs out of memory as well. Once `budget_seconds` have gone by, no further one is
    tried.

    Args:
        frames_BCHW: noise is best: on black every form is right.
        measure: seconds that a form takes for the frames; called after one run that is not timed.
        tell: hears a sentence about every form dropped.
    """
    first, *others = forms
    fastest = first.make()
    reference = fastest(frames_BCHW)
    best = measure(fastest, frames_BCHW)
    begin = clock()
    for form in others:
        if clock() - begin > budget_seconds:
            break
        try:
            run = form.make()
            difference = _difference(run(frames_BCHW), reference)
            seconds = measure(run, frames_BCHW)
        except Interrupted:
            raise
        except Exception as exc:  # other people's compilers: anything may come
            reason = "out of memory" if is_out_of_memory(exc) else _first_line(exc)
            tell(f"{form.name} cannot be used here ({reason}): done without")
            continue
        if not difference <= TOLERANCE:  # NaN too
            tell(f"{form.name} differs from {first.name} by {difference:.2g} here: done without")
        elif seconds < best * GAIN:
            fastest, best = run, seconds
    return fastest


def _difference(result: Tensor, reference: Tensor) -> float:
    if result.shape != reference.shape:
        return float("inf")
    return float(_root_mean_square(result.float() - reference.float()) / _root_mean_square(reference.float()))


def _root_mean_square(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {lines[0]}" if lines else type(exc).__name__
