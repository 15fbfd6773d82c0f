"""Known figures as JSON and as text."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

from vsr.bench.clip import Clip
from vsr.bench.networks import NetworkSpeed
from vsr.bench.peer import Peer
from vsr.bench.results import Results
from vsr.bench.river import River
from vsr.bench.spread import Spread
from vsr.bench.stages import Stages
from vsr.bench.table import format_results

CALM, WILD = Spread(100.0, 99.0, 101.0), Spread(200.0, 150.0, 250.0)
RESULTS = Results(
    machine={"processor": "Abacus", "cores": 1, "threads": 2, "device": "cpu", "device_name": None, "torch": "2.13.0",
             "pyav": "18.1.0", "load": 0.2},
    clip=Clip("synthetic", 480, 270, 48, Fraction(25)),
    run={"model": "fast", "scale": 4.0, "precision": "bf16", "engine": "torch", "size_out": (1920, 1080),
         "encoder": "libx264 crf 18"},
    num_runs=3,
    ceiling={"fp32": Spread(2e12, 1.9e12, 2.1e12)},
    networks=[NetworkSpeed("fast", 4.0, "bf16", CALM, 10.0, 5e11, 0.25),
              NetworkSpeed("foreign", 2.0, "fp32", CALM, 10.0, None, None)],
    stages=Stages({"decode": CALM, "tensor_to_frames": WILD}),
    river=River(
        WILD, 5.0, {"decode": 1.0, "compute": 150.0}, CALM, 2_500_000_000, 300_000_000, 180.0, 0.9,
        "compute", 150.0, 0.75,
    ),
    peer=Peer("PyAV", CALM, WILD, Spread(0.5, 0.4, 0.6), WILD, CALM, Spread(2.0, 2.0, 2.0), "bf16", 67.25, None),
)  # fmt: skip


def test_the_table_says_every_figure_with_its_range() -> None:
    text = format_results(RESULTS)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "Abacus, 1 core, 2 threads; on cpu; torch 2.13.0, PyAV 18.1.0" in lines
    assert "stages, river, peer: fast x4 in bf16 by torch, to 1920x1080, libx264 crf 18" in lines
    assert "matrix product, fp32 2.00 (1.90 to 2.10)" in lines
    assert "fast x4, bf16 100.0 (99.0 to 101.0) 10.00 500 25% of bf16" in lines
    assert "foreign x2, fp32 100.0 (99.0 to 101.0) 10.00" in lines
    assert "tensor to frames 200.0 (150.0 to 250.0)" in lines
    assert "whole 200.0 (150.0 to 250.0) 5.00 2.50 GB" in lines
    assert (
        "at work: decode 1.0, compute 150.0 ms/frame;"
        " 180.0 ms of processor time in all, the cores are busy 90% of the time" in lines
    )
    assert "its slowest stage alone, compute, takes 150.0 ms/frame: the river reaches 75% of that rate" in lines
    assert "end to end 100.0 (99.0 to 101.0) 200.0 (150.0 to 250.0) 0.50 (0.40 to 0.60)" in lines
    assert "vsr in bf16 against plain: 67.2 dB PSNR" in lines
    assert max(map(len, text.splitlines())) <= 120


def test_noise_is_said_and_calm_is_not() -> None:
    noisy = [line for line in format_results(RESULTS).splitlines() if line.startswith("noisy")]
    assert "noisy: the river: min..max differ by 50%" in noisy
    assert "noisy: tensor to frames alone: min..max differ by 50%" in noisy
    assert not [line for line in noisy if "fast alone" in line or "decode" in line]
    calm = replace(RESULTS, stages=None, river=None, peer=None)
    assert "noisy" not in format_results(calm)


def test_a_busy_machine_is_said() -> None:
    assert "busy: " not in format_results(RESULTS)
    busy = replace(RESULTS, machine=RESULTS.machine | {"load": 3.25})
    assert format_results(busy).endswith("busy: other work was going on beforehand (load 3.25): measure again alone")
    unknown = replace(RESULTS, machine=RESULTS.machine | {"load": None})
    assert "busy: " not in format_results(unknown)


def test_what_was_not_measured_is_left_out() -> None:
    nothing = replace(RESULTS, ceiling=None, networks=None, stages=None, river=None, peer=None)
    assert len(format_results(nothing).splitlines()) == 3
    assert nothing.as_dict()["peer"] is None
    assert nothing.spreads() == {}


def test_json_holds_plain_figures_only() -> None:
    found = json.loads(json.dumps(RESULTS.as_dict(), allow_nan=False))
    assert found["ceiling"]["fp32"] == {"median": 2e12, "least": 1.9e12, "greatest": 2.1e12, "noise": 0.1}
    assert found["networks"][1]["flop_per_second"] is None
    assert found["river"]["peak_memory_bytes"] == 2_500_000_000
    assert found["peer"]["psnr_db_nearest"] is None
    assert found["clip"]["rate"] == "25"
