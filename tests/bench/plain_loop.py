"""The shipped path against the plain loop that the usual scripts run; a script, not collected by pytest.

    python tests/bench/plain_loop.py [--input FILE] [--model FILE] [--frames N] [--runs 3] [--json]

The plain loop: PyAV decodes, rgb24 array, torch float32 NCHW, network, clamp, round, array, PyAV encodes with
libx264; one frame after the other in one thread, torch and libx264 with the threads they take by themselves.
The shipped path: `vsr.upscale` with the same weights, CRF and encoder preset, everything else as it comes.

Both see the same clip (480x270, made on the spot, unless --input) and the compact network with 64 features and 16
convolutions (random weights from a fixed seed, unless --model). Every run is a process of its own, so that neither
inherits the other's memory or thread settings; runs alternate, medians are given with the spread.
A run: two frames to warm up, then the clip with the clock on; loading the weights is left out. Probing the source and
verifying the output count against the shipped path, the plain loop does neither.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

CRF, ENCODER_PRESET = 18, "veryfast"
WIDTH, HEIGHT, RATE = 480, 270, 25


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--input", type=Path, help="a film; default: a synthetic clip of 480x270")
    parser.add_argument("--model", type=Path, help="weights file; default: compact 64x16 with random weights")
    parser.add_argument("--frames", type=int, default=24, help="frames per run (default %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (default %(default)s)")
    parser.add_argument("--crf", type=int, default=CRF, help="of both encoders (default %(default)s)")
    parser.add_argument("--encoder-preset", default=ENCODER_PRESET, help="of both encoders (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument("--one", choices=RUNS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(RUNS[args.one](args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        args.clip, args.weights = Path(folder, "clip.mkv"), args.model or Path(folder, "compact.safetensors")
        make_clip(args.clip, args.input, args.frames)
        if args.model is None:
            make_weights(args.weights)
        results = measure(args)
    print(json.dumps(results, indent=2) if args.json else describe(results))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Alternate the runs, each in a process of its own."""
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    facts: dict[str, Any] = {}
    for _ in range(args.runs):
        for name in RUNS:
            command = [sys.executable, __file__, "--one", name, "--input", str(args.clip), "--model", str(args.weights)]
            command += ["--crf", str(args.crf), "--encoder-preset", args.encoder_preset]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr}")
            result = json.loads(done.stdout.splitlines()[-1])
            seconds[name].append(result.pop("seconds_per_frame"))
            facts |= result
            print(f"{name}: {seconds[name][-1] * 1000:.1f} ms/frame", file=sys.stderr)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "runs": args.runs,
        "frames": args.frames,
        "milliseconds_per_frame": {name: round(value * 1000, 2) for name, value in median.items()},
        "spread_milliseconds": {
            name: [round(min(v) * 1000, 2), round(max(v) * 1000, 2)] for name, v in seconds.items()
        },
        "ratio_end_to_end": round(median["plain-film"] / median["vsr-film"], 3),
        "ratio_network": round(median["plain-network"] / median["vsr-network"], 3),
        **facts,
    }


def describe(results: dict[str, Any]) -> str:
    lines = [f"{results['runs']} runs of {results['frames']} frames, {results['threads']} threads; medians"]
    for name, value in results["milliseconds_per_frame"].items():
        low, high = results["spread_milliseconds"][name]
        lines.append(f"  {name:14} {value:8.1f} ms/frame   ({low:.1f} to {high:.1f})")
    lines.append(f"  end to end  x{results['ratio_end_to_end']:.2f}    network alone  x{results['ratio_network']:.2f}")
    lines.append(f"  {results['precision']} against the plain loop's fp32: {results['psnr_db']:.1f} dB")
    return "\n".join(lines)


# --- what is compared ---


def run_plain_film(args: argparse.Namespace) -> dict[str, Any]:
    """The usual script."""
    import av
    import numpy as np
    import torch

    module = load_plain(args.model)

    def upscale_film(output: Path, limit: float) -> int:
        num_frames = 0
        with av.open(str(args.input)) as source, av.open(str(output), "w") as sink:
            video = source.streams.video[0]
            stream = sink.add_stream("libx264", rate=video.average_rate)
            stream.options = {"crf": str(args.crf), "preset": args.encoder_preset}
            stream.pix_fmt = "yuv420p"
            for frame in source.decode(video):
                picture = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).unsqueeze(0)
                with torch.no_grad():
                    result = module(picture.float() / 255)
                array = (result[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
                larger = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
                if num_frames == 0:
                    stream.height, stream.width = array.shape[:2]
                sink.mux(stream.encode(larger))
                num_frames += 1
                if num_frames >= limit:
                    break
            sink.mux(stream.encode(None))
        return num_frames

    with tempfile.TemporaryDirectory() as folder:
        upscale_film(Path(folder, "warm.mp4"), 2)
        begin = time.perf_counter()
        num_frames = upscale_film(Path(folder, "out.mp4"), math.inf)
        return {"seconds_per_frame": (time.perf_counter() - begin) / num_frames}


def run_vsr_film(args: argparse.Namespace) -> dict[str, Any]:
    """The shipped path, through its public door."""
    import vsr

    options = {"model": str(args.model), "crf": args.crf, "encoder_preset": args.encoder_preset, "overwrite": True}
    settings = vsr.Settings(**options)
    upscaler = vsr.make_upscaler(settings)
    with tempfile.TemporaryDirectory() as folder:
        warm = vsr.Settings(**options, duration=Fraction(2, RATE))
        vsr.upscale(args.input, Path(folder, "warm.mp4"), settings=warm, upscaler=upscaler)
        begin = time.perf_counter()
        report = vsr.upscale(args.input, Path(folder, "out.mp4"), settings=settings, upscaler=upscaler)
        seconds = time.perf_counter() - begin
    stages = {name: round(1000 * value / report.frames_out, 2) for name, value in report.stage_seconds.items()}
    return {"seconds_per_frame": seconds / report.frames_out, "stage_milliseconds": stages}


def run_plain_network(args: argparse.Namespace) -> dict[str, Any]:
    """The network of the usual script alone: float32 in, float32 out."""
    import torch

    module, frames = load_plain(args.model), load_frames(args.input)

    def upscale(picture: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return module(picture).clamp(0, 1)

    return {"seconds_per_frame": clock(upscale, frames)}


def run_vsr_network(args: argparse.Namespace) -> dict[str, Any]:
    """The upscaler alone, and how near it comes to float32."""
    import torch

    from vsr.metrics import psnr
    from vsr.model.loading import load_model
    from vsr.model.upscaler import Upscaler

    network, frames = load_model(args.model), load_frames(args.input)
    upscale = Upscaler(network)
    seconds = clock(upscale, frames)
    with torch.no_grad():
        exact = load_plain(args.model)(frames[0]).clamp(0, 1)
    # A network that changes nothing would be near too, so say how much it changes the picture.
    nearest = torch.nn.functional.interpolate(frames[0], scale_factor=network.scale)
    return {
        "seconds_per_frame": seconds,
        "psnr_db": round(psnr(upscale(frames[0]).cpu(), exact), 2),
        "psnr_db_nearest_to_fp32": round(psnr(nearest, exact), 2),
        "precision": upscale.precision,
        "device": str(upscale.device),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
    }


RUNS = {
    "plain-film": run_plain_film,
    "vsr-film": run_vsr_film,
    "plain-network": run_plain_network,
    "vsr-network": run_vsr_network,
}


def clock(upscale: Any, frames: list[Any]) -> float:
    """Median seconds of a call, after two to warm up."""
    upscale(frames[0]), upscale(frames[-1])
    seconds = []
    for frame in frames:
        begin = time.perf_counter()
        upscale(frame)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


# --- material ---


def make_clip(path: Path, source: Path | None, num_frames: int) -> None:
    """The first frames of a film, or gradients, a moving disc, stripes and grain, as H.264 at CRF 12."""
    import av

    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=RATE)
        stream.options, stream.pix_fmt = {"crf": "12"}, "yuv420p"
        for frame in _draw(num_frames) if source is None else _read(source, num_frames):
            if not stream.codec_context.is_open:
                stream.width, stream.height = frame.width, frame.height
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))


def _draw(num_frames: int) -> Any:
    import av
    import numpy as np

    random = np.random.default_rng(0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    for t in range(num_frames):
        disc = ((x - 100 - 5 * t) ** 2 + (y - 130) ** 2 < 60**2) * 90.0
        stripes = 40 * np.sin(x / 3 + t) * (y > HEIGHT / 2)
        planes = [60 + 0.2 * x + disc, 90 + 0.3 * y + stripes, 160 - 0.2 * x + disc]
        picture = np.stack(planes, axis=2) + random.normal(0, 3, (HEIGHT, WIDTH, 3))
        yield av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")


def _read(source: Path, num_frames: int) -> Any:
    import av

    with av.open(str(source)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == num_frames:
                return
            fresh = frame.reformat(format="yuv420p")
            fresh.pts, fresh.time_base = index, Fraction(1, RATE)
            yield fresh


def make_weights(path: Path) -> None:
    """A compact network of 64 features and 16 convolutions, scaled so that the residual is visible but sane."""
    import torch
    from safetensors.torch import save_file

    from vsr.model.compact import Compact

    torch.manual_seed(0)
    module = Compact(64, 16, 4)
    with torch.no_grad():
        for part in module.body:
            if isinstance(part, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(part.weight, a=0.25)
        module.body[-1].weight.mul_(0.05)
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)


def load_plain(path: Path) -> Any:
    """The network as the usual scripts define it: a sequence of layers, pixel-shuffle, nearest, addition.

    Nothing of vsr is imported here: it would change how torch takes memory, and the usual scripts do not.
    """
    import torch
    from safetensors.torch import load_file
    from torch import nn

    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    state = state.get("params_ema", state.get("params", state))
    if not all(key.startswith("body.") for key in state):
        raise SystemExit(f"{path}: the plain loop knows compact networks only")
    last = max(int(key.split(".")[1]) for key in state)
    scale = math.isqrt(state[f"body.{last}.weight"].shape[0] // 3)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            for index in range(0, last + 1, 2):
                num_out, num_in = state[f"body.{index}.weight"].shape[:2]
                layers += [nn.Conv2d(num_in, num_out, 3, 1, 1), nn.PReLU(num_out)]
            self.body = nn.Sequential(*layers[:-1])

        def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
            residual = nn.functional.pixel_shuffle(self.body(frames_BCHW), scale)
            return residual + nn.functional.interpolate(frames_BCHW, scale_factor=scale, mode="nearest")

    module = Plain().eval()
    module.load_state_dict(state)
    return module


def load_frames(path: Path) -> list[Any]:
    """All frames of a clip as 1,3,H,W float32 RGB in 0..1."""
    import av
    import torch

    with av.open(str(path)) as container:
        arrays = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [torch.from_numpy(array).permute(2, 0, 1).unsqueeze(0).float() / 255 for array in arrays]


if __name__ == "__main__":
    main()
