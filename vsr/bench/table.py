"""The figures as text, for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vsr.bench.machine import is_busy
from vsr.bench.networks import NetworkSpeed
from vsr.bench.peer import Peer
from vsr.bench.results import Results
from vsr.bench.river import River
from vsr.bench.spread import Spread
from vsr.bench.stages import Stages

__all__ = ["format_results"]

Rows = Sequence[Sequence[str]]


def format_results(results: Results) -> str:
    """A block for each part that was measured, then what is to be doubted. Medians, with the range of the runs."""
    blocks = [_format_head(results)]
    if results.ceiling is not None:
        blocks.append(_format_ceiling(results.ceiling))
    if results.networks is not None:
        blocks.append(_format_networks(results.networks))
    if results.stages is not None:
        blocks.append(_format_stages(results.stages))
    if results.river is not None:
        blocks.append(_format_river(results.river))
    if results.peer is not None:
        blocks.append(_format_peer(results.peer))
    if doubts := _list_doubts(results):
        blocks.append("\n".join(doubts))
    return "\n\n".join(blocks)


def _format_head(results: Results) -> str:
    machine, clip, run = results.machine, results.clip, results.run
    width, height = run["size_out"]
    cores = f"{machine['cores']} core{'s' * (machine['cores'] != 1)}"
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] != 1)}"
    device = f"{machine['device']} ({machine['device_name']})" if machine["device_name"] else machine["device"]
    runs = f"{results.num_runs} run{'s' * (results.num_runs != 1)}"
    versions = f"torch {machine['torch']}, PyAV {machine['pyav']}"
    size = f"{clip.width}x{clip.height}, {clip.num_frames} frames"
    return (
        f"{machine['processor']}, {cores}, {threads}; on {device}; {versions}\n"
        f"{clip.name} clip, {size}; {runs}, medians (least to greatest)\n"
        f"stages, river, peer: {run['model']} x{run['scale']:g} in {run['precision']} by {run['engine']},"
        f" to {width}x{height}, {run['encoder']}"
    )


def _format_ceiling(ceiling: dict[str, Spread]) -> str:
    rows = [["ceiling", "TFLOP/s", ""]]
    rows += [[f"  matrix product, {name}", *_cells(rate, 2, 1e12)] for name, rate in ceiling.items()]
    return _align(rows)


def _format_networks(networks: Sequence[NetworkSpeed]) -> str:
    rows = [["network alone", "ms/frame", "", "frames/s", "GFLOP/s", "of the ceiling"]]
    for network in networks:
        rate = "" if network.flop_per_second is None else f"{network.flop_per_second / 1e9:.0f}"
        share = "" if network.share_of_ceiling is None else f"{network.share_of_ceiling:.0%} of {network.precision}"
        title = f"  {network.name} x{network.scale:g}, {network.precision}"
        rows.append([title, *_cells(network.milliseconds), f"{network.frames_per_second:.2f}", rate, share])
    return _align(rows)


def _format_stages(stages: Stages) -> str:
    rows = [["stage alone", "ms/frame", ""]]
    rows += [[f"  {name.replace('_', ' ')}", *_cells(one)] for name, one in stages.milliseconds.items()]
    return f"{_align(rows)}\n  (encode: with reading the film back and verifying it)"


def _format_river(river: River) -> str:
    rows = [["river", "ms/frame", "", "frames/s", "peak memory"]]
    memory = f"{river.peak_memory_bytes / 1e9:.2f} GB"
    rows.append(["  whole", *_cells(river.milliseconds), f"{river.frames_per_second:.2f}", memory])
    at_work = ", ".join(f"{name} {value:.1f}" for name, value in river.stage_milliseconds.items())
    startup = "{} s {}".format(*_cells(river.startup_milliseconds, 2, 1e3))
    lines = [
        _align(rows),
        f"  at work: {at_work} ms/frame; {river.processor_milliseconds:.1f} ms of processor time in all,"
        f" the cores are busy {river.cores_busy:.0%} of the time",
        f"  start-up, with a film of two frames: {startup}; {river.import_memory_bytes / 1e9:.2f} GB are imports",
    ]
    if river.share_of_slowest is not None and river.slowest_stage is not None:
        lines.append(
            f"  its slowest stage alone, {river.slowest_stage}, takes"
            f" {river.slowest_milliseconds:.1f} ms/frame: the river reaches {river.share_of_slowest:.0%} of that rate"
        )
    return "\n".join(lines)


def _format_peer(peer: Peer) -> str:
    rows = [["peer", "plain, ms/frame", "", "vsr, ms/frame", "", "ratio", ""]]
    for title, plain, own, ratio in (
        ("  end to end", peer.plain_film, peer.vsr_film, peer.ratio_film),
        ("  network alone", peer.plain_network, peer.vsr_network, peer.ratio_network),
    ):
        rows.append([title, *_cells(plain), *_cells(own), *_cells(ratio, 2)])
    psnr = "equal" if peer.psnr_db is None else f"{peer.psnr_db:.1f} dB PSNR"
    nearest = "" if peer.psnr_db_nearest is None else f" (nearest neighbour: {peer.psnr_db_nearest:.1f} dB)"
    return (
        f"{_align(rows)}\n"
        f"  plain: fp32, NCHW, one frame after the other, {peer.ends}\n"
        f"  vsr in {peer.precision} against plain: {psnr}{nearest}"
    )


def _list_doubts(results: Results) -> list[str]:
    """Why figures should not be believed to the last digit, or not at all."""
    doubts = [
        f"noisy: {name}: min..max differ by {one.noise:.0%}" for name, one in results.spreads().items() if one.is_noisy
    ]
    if is_busy(results.machine):
        doubts.append(f"busy: other work was going on beforehand (load {results.machine['load']}): measure again alone")
    return doubts


def _cells(spread: Spread, digits: int = 1, unit: float = 1.0) -> tuple[str, str]:
    """The median, and the range."""
    median, least, greatest = (f"{value / unit:.{digits}f}" for value in (spread.median, spread.least, spread.greatest))
    return median, f"({least} to {greatest})"


def _align(rows: Rows) -> str:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        pads: list[Callable[[int], str]] = [row[0].ljust, *(cell.rjust for cell in row[1:])]
        lines.append("  ".join(pad(width) for pad, width in zip(pads, widths, strict=True)).rstrip())
    return "\n".join(lines)
