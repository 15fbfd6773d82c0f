"""Text subtitles from one container's form into another's: the words stay, styling goes where it has no place.

Matroska keeps SubRip text, WebVTT text or ASS dialogue fields as bare packets; MP4 keeps 3GPP Timed Text
(ETSI TS 126 245): a big-endian 16-bit length and UTF-8 text, an empty text marking a gap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["CONVERTIBLE", "MOV_TEXT_HEADER", "Cue", "Flattener", "convert_text", "pack_timed_text"]

# What can be turned into what: the codings whose packets are text.
CONVERTIBLE = frozenset({"subrip", "srt", "text", "webvtt", "ass", "ssa", "mov_text"})

# FFmpeg's mov_text encoder writes the sample description (font, colour) of the track from an ASS header.
MOV_TEXT_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""

_ASS_FIELDS_BEFORE_TEXT = 8
_ASS_OVERRIDE = re.compile(r"\{[^}]*\}")
_MARKUP = re.compile(r"</?[a-zA-Z][^>]*>")
_TIMED_TEXT_MAX = 0xFFFF


def convert_text(packet: bytes, source: str, target: str) -> bytes:
    """The text of a subtitle packet of coding `source` as a packet of coding `target` ("mov_text" or "subrip").

    An empty result means that the packet only marked a gap, which `target` does not need.
    """
    text = _read_text(packet, source)
    if target == "mov_text":
        return pack_timed_text(_MARKUP.sub("", text))
    return text.encode()


def pack_timed_text(text: str) -> bytes:
    """`text` as a sample of 3GPP Timed Text, cut to the 65535 bytes that one can hold."""
    encoded = text.encode()[:_TIMED_TEXT_MAX]
    encoded = encoded.decode(errors="ignore").encode()  # a cut must not leave half a character
    return len(encoded).to_bytes(2, "big") + encoded


def _read_text(packet: bytes, source: str) -> str:
    if source == "mov_text":
        length = int.from_bytes(packet[:2], "big")
        return packet[2 : 2 + length].decode(errors="replace")
    text = packet.decode(errors="replace").strip("\0")
    if source in ("ass", "ssa"):
        fields = text.split(",", _ASS_FIELDS_BEFORE_TEXT)
        spoken = fields[-1] if len(fields) > _ASS_FIELDS_BEFORE_TEXT else text
        return _ASS_OVERRIDE.sub("", spoken).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return text.strip()


@dataclass(frozen=True, slots=True)
class Cue:
    """A text on screen from `start` until `end`, in ticks; `end` is None where it stays until the next."""

    start: int
    end: int | None
    text: str


@dataclass(slots=True)
class Flattener:
    """Cues that may overlap -> cues that do not, for codings with one text at a time.

    Whenever a text comes or goes, a new cue starts with all texts that are then on screen, in order of their start.
    Cues are given in order of start; one that starts where all is already settled is moved there, and counted.

    Attributes:
        num_moved: cues that came too late and were moved.
    """

    num_moved: int = 0
    _active: list[Cue] = field(default_factory=list, repr=False)
    _settled: int | None = field(default=None, repr=False)  # up to here no cue can change anything any more

    def add(self, cue: Cue) -> list[Cue]:
        """Take one cue; returns what is settled by it."""
        start, end = cue.start, cue.end
        if self._settled is not None and start < self._settled:
            self.num_moved += 1
            start = self._settled
        if end is not None:
            end = max(end, start + 1)
        settled = self.settle(start)
        self._active = [other for other in self._active if other.end is not None or other.start >= start]
        self._active.append(Cue(start, end, cue.text))
        return settled

    def settle(self, time: int | None) -> list[Cue]:
        """What is known once no further cue starts before `time` (None: none comes at all)."""
        found = []
        while self._active:
            start = self._active[-1].start if self._settled is None else max(self._settled, self._active[-1].start)
            end = min((end for end in (*(cue.end for cue in self._active), time) if end is not None), default=None)
            if end is not None and end <= start:
                break
            found.append(Cue(start, end, "\n".join(dict.fromkeys(cue.text for cue in self._active))))
            self._settled = start if end is None else end
            self._active = [cue for cue in self._active if end is not None and (cue.end is None or cue.end > end)]
        return found

    def is_over(self, time: int) -> bool:
        """True if texts wait for a later cue, and all of them have gone by `time`."""
        return bool(self._active) and all(cue.end is not None and cue.end <= time for cue in self._active)
