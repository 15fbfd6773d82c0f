"""Clocks that jump back or start late become one clock from the beginning on, for all streams alike."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vsr.video.continuity import Continuity

TICK = Fraction(1, 90000)


@dataclass
class Packet:
    """As much of a packet as the clock looks at."""

    dts: int | None
    pts: int | None = None
    duration: int | None = 3600
    size: int = 1
    time_base: Fraction = TICK
    kind: str = "video"
    stream_index: int = 0

    @property
    def stream(self) -> Packet:
        return self

    @property
    def type(self) -> str:
        return self.kind


def offsets(clock: Continuity, *seconds: float) -> list[Fraction]:
    return [clock.offset(Packet(round(value * 90000))) for value in seconds]


def test_a_sound_clock_is_left_alone() -> None:
    clock = Continuity(needed=True)
    assert offsets(clock, 1.4, 1.36, 1.44, 5, 4, 60, 51) == [0] * 7
    assert clock.num_jumps == 0


def test_a_jump_back_goes_on_where_the_film_was() -> None:
    clock = Continuity(needed=True)
    before, after = offsets(clock, 100, 1.4)
    assert before == 0
    assert Fraction(14, 10) + after == 100 + 3600 * TICK  # right after the end of the last packet
    assert clock.num_jumps == 1


def test_a_straggler_from_before_the_jump_keeps_the_old_clock() -> None:
    clock = Continuity(needed=True)
    shifts = offsets(clock, 100, 1.4, 99.9, 1.44)
    assert shifts[2] == 0
    assert shifts[1] == shifts[3] > 0
    assert clock.num_jumps == 1


def test_formats_with_a_sound_clock_are_not_looked_at() -> None:
    clock = Continuity(needed=False)
    assert offsets(clock, 100, 1) == [0, 0]


def test_a_shift_of_all_counts_from_the_first_packet_on() -> None:
    clock = Continuity(needed=True, shift_all=Fraction(-3600))
    assert offsets(clock, 3600, 3601) == [-3600, -3600]


def test_shifting_moves_both_times_to_the_nearest_tick() -> None:
    packet = Packet(dts=10, pts=20, time_base=Fraction(1, 1000))
    Continuity.shift(packet, Fraction(1, 3))
    assert (packet.dts, packet.pts) == (343, 353)
    packet = Packet(dts=None, pts=None)
    Continuity.shift(packet, Fraction(1))
    assert (packet.dts, packet.pts) == (None, None)


def test_a_leap_ahead_is_a_jump_too() -> None:
    clock = Continuity(needed=True)
    shifts = offsets(clock, 12, 36000, 11.9, 36000.04)
    assert 36000 + shifts[1] == 12 + 3600 * TICK
    assert shifts[2] == 0
    assert shifts[3] == shifts[1]
    assert clock.num_jumps == 1


def test_a_late_subtitle_is_no_leap() -> None:
    clock = Continuity(needed=True)
    clock.offset(Packet(0))
    assert clock.offset(Packet(90000 * 300, kind="subtitle", stream_index=2)) == 0
    assert clock.num_jumps == 0


def test_streams_of_another_program_decide_about_nothing() -> None:
    clock = Continuity(needed=True, foreign=frozenset((1,)))
    offsets(clock, 36000)
    assert clock.offset(Packet(90000, stream_index=1)) == 0
    assert offsets(clock, 36000.04) == [0]
    assert clock.num_jumps == 0
