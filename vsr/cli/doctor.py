"""`vsr doctor`: what this machine can do, and what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
from typing import Any

EXTRAS = (
    "spandrel", "openvino", "onnx", "onnxruntime", "tensorrt", "nvidia.dali", "watchdog", "starlette", "uvicorn", "ray",
)  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Look at everything a run needs; status 1 if the default command would not work."""
    facts = _examine()
    if options.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            if text:
                print(f"{name.replace('_', ' '):18} {text}")
    return 1 if facts["problems"] else 0


def _examine() -> dict[str, Any]:
    import torch

    from vsr import __version__
    from vsr.model import catalog
    from vsr.model.precision import choose_precision, has_native_bf16, resolve_device
    from vsr.video.abilities import describe_ffmpeg, describe_gpu

    ffmpeg = describe_ffmpeg()
    device = resolve_device("auto")
    embedded = [entry for entry in catalog.entries() if entry.is_embedded]
    here = [entry.name for entry in catalog.entries() if not entry.is_embedded and catalog.locate(entry)]
    free = shutil.disk_usage(os.getcwd()).free
    problems = []
    if "libx264" not in ffmpeg["encoders"]:
        problems.append("this PyAV has no libx264: reinstall `av` from its wheel")
    for entry in embedded:
        path = catalog.locate(entry)
        if path is None or not path.is_file():
            problems.append(f"the embedded network {entry.name} is missing: reinstall vsr")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "vsr": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "pyav": f"{ffmpeg['pyav']}, libavcodec {ffmpeg['libavcodec']}",
        "processor": f"{os.cpu_count()} cores, {'with' if has_native_bf16() else 'without'} bf16 arithmetic",
        "gpus": gpus or ["none that torch can use"],
        "default_device": f"{device} in {choose_precision('auto', device)}",
        "encoders": ffmpeg["encoders"],
        **describe_gpu(),
        "extras": [f"{name} {_extra(name)}" for name in EXTRAS],
        "weights_here": here or ["only the embedded ones"],
        "weights_folder": str(catalog.cache_folder()),
        "vsr_models": os.environ.get("VSR_MODELS", "not set"),
        "free_disk_here": f"{free / 1e9:.1f} GB",
        "problems": problems or [],
    } | ({} if problems else {"verdict": "all that `vsr upscale` needs is here"})


def _extra(module: str) -> str:
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        return "not installed"
    try:
        return importlib.metadata.version({"nvidia.dali": "nvidia-dali-cuda130"}.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return "installed"
