"""What an output cannot keep of its source, said before the work starts."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from vsr.video.containers import StreamPlan
from vsr.video.encoding import Encoding
from vsr.video.probe import VideoInfo

__all__ = ["list_losses"]

# Encoders that have no place for mastering display and light level; the colour tags are kept with all.
CODECS_WITHOUT_HDR_METADATA = ("prores", "ffv1")

# Subtitle codings whose lines carry fonts, colours and places on the screen.
STYLED = ("ass", "ssa")


def list_losses(info: VideoInfo, encoding: Encoding, plans: Sequence[StreamPlan]) -> list[str]:
    """In words, each a sentence of its own, what the output will not keep of pictures, clock and streams.

    `Encoding.warnings` are part of it.
    """
    losses = list(encoding.warnings)
    if info.clock_shift:
        losses.append(
            f"the film's clock starts at {_clock(-info.clock_shift)}; the output's starts at zero, all streams alike"
        )
    if info.alpha:
        losses.append("the film is transparent in places; the output is not")
    if info.captions:
        losses.append("closed captions inside the pictures are not kept")
    if info.dynamic_hdr:
        losses.append(f"dynamic HDR metadata ({', '.join(info.dynamic_hdr)}) is not kept; static tags are")
    if info.hdr is not None and encoding.codec in CODECS_WITHOUT_HDR_METADATA:
        losses.append(f"{encoding.codec} cannot hold the HDR mastering metadata (--codec hevc or av1 keeps it)")
    losses += [_describe_drop(plan) for plan in plans if plan.action == "drop"]
    losses += [_describe_styling(plan) for plan in plans if plan.action == "convert" and plan.stream.codec in STYLED]
    return losses


def _clock(seconds: Fraction) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _describe_drop(plan: StreamPlan) -> str:
    stream = plan.stream
    codec = f" ({stream.codec})" if stream.codec else ""
    return f"{stream.kind} stream #{stream.index}{codec} is left out: {plan.reason}"


def _describe_styling(plan: StreamPlan) -> str:
    stream = plan.stream
    return (
        f"subtitle stream #{stream.index} ({stream.codec}) becomes {plan.target}: its words and times are kept, "
        "its styling is not"
    )
