"""When each packet of a joined film is to be decoded: from the order of the packets and their presentation times alone.

Encoders state decoding times of their own, which begin anew with each of them; of segments in a row they would overlap
where frames are not evenly spaced, and x265 makes them up for films of a few frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

__all__ = ["assign_decoding_times", "find_delay"]


def find_delay(segments: Iterable[Sequence[int]]) -> int:
    """How many pictures a decoder must hold: the least number that lets every packet come before its presentation.

    Args:
        segments: for each the presentation times of its packets, distinct, in decoding order. No packet is shown
            before one of an earlier segment (groups of pictures are closed).
    """
    delay = 0
    for times in segments:
        rank = {time: number for number, time in enumerate(sorted(times))}
        delay = max(delay, *(number - rank[time] for number, time in enumerate(times)), 0)
    return delay


def assign_decoding_times(segments: Iterable[Sequence[int]], delay: int, first_step: int) -> Iterator[list[int]]:
    """For each segment the decoding times of its packets: strictly ascending, none after its presentation.

    A packet is decoded when the picture that is shown `delay` pictures earlier in the film is shown.

    Args:
        segments: as for `find_delay`.
        delay: at least what that gives.
        first_step: ticks that the first `delay` pictures, which have none before them, are taken to be apart.
    """
    held: list[int] | None = None
    for times in segments:
        ascending = sorted(times)
        if held is None:
            held = [ascending[0] - first_step * number for number in range(delay, 0, -1)]
        held += ascending
        yield held[: len(times)]
        held = held[len(times) :]
