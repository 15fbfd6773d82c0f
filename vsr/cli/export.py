"""`vsr export`: a network as an ONNX file, compared with the network before it gets its name."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import ModelError
from vsr.progress import ScreenProgress, printable, show_download

if TYPE_CHECKING:
    from vsr.model.network import Network
    from vsr.model.onnx_check import Check
    from vsr.model.onnx_export import ExportPrecision


def run(options: argparse.Namespace) -> int:
    """Write the file and check it; the words go to stderr, the file's name or the JSON object to stdout."""
    from vsr.cli.output_file import check_output, written_whole
    from vsr.model.loading import load_model
    from vsr.model.onnx_check import check_onnx, has_runtime, import_runtime
    from vsr.model.onnx_export import DEFAULT_OPSET, check_opset
    from vsr.model.onnx_graph import import_onnx

    path, precision = Path(options.output), options.precision
    opset = check_opset(DEFAULT_OPSET if options.opset is None else options.opset)
    check_output(path, ".onnx", "an ONNX file", overwrite=options.overwrite)
    is_checked = has_runtime() if options.check is None else options.check
    import_onnx()  # what is missing is said before a download that would be for nothing
    if is_checked:
        import_runtime()
    with ScreenProgress() as screen:
        network = load_model(options.model, progress=show_download(screen, options.model))
    content = _make(network, precision, opset, is_checked=is_checked)
    with written_whole(path, overwrite=options.overwrite) as temporary:
        _write(temporary, content)
        check = check_onnx(temporary, network, precision) if is_checked else None
    facts = _describe(path, content, network, opset, precision, check)
    if options.json:
        print(json.dumps(facts))
        return 0
    print(path)
    _tell(facts, check, was_refused=options.check is False)
    return 0


def _make(network: Network, precision: ExportPrecision, opset: int, *, is_checked: bool) -> bytes:
    from vsr.model.onnx_export import make_onnx
    from vsr.model.onnx_foreign import trace_onnx
    from vsr.model.onnx_networks import can_draw

    if can_draw(network.module):
        return make_onnx(network, precision, opset=opset)
    if not is_checked:
        raise ModelError(
            f"{network.name} ({network.architecture}) has to be traced, which can be right for one size of picture"
            " only: it must be checked",
            hint="pip install 'vsr[export]', and do without --no-check",
        )
    return trace_onnx(network, precision, opset=opset)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _describe(
    path: Path, content: bytes, network: Network, opset: int, precision: ExportPrecision, check: Check | None
) -> dict[str, Any]:
    from vsr.model.onnx_export import describe_model
    from vsr.model.tensorrt_profile import trtexec_command

    return {
        "output": str(path),
        "num_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **describe_model(network, precision),
        "scale": network.scale,
        "licence": network.licence,
        "opset": opset,
        "is_checked": check is not None,
        "max_abs_error": check.max_abs_error if check else None,
        "tolerance": check.tolerance if check else None,
        "checked_shapes": [[batch, 3, *size] for batch, *size in check.shapes] if check else [],
        "trtexec": {f"tensorrt{major}": trtexec_command(path, major) for major in (10, 11)},
    }


def _tell(facts: dict[str, Any], check: Check | None, *, was_refused: bool) -> None:
    _say(
        f"{facts['model']} ({facts['architecture']}, x{facts['scale']}) in {facts['precision']}, opset {facts['opset']}"
    )
    if check is not None:
        _say(
            f"ONNX Runtime and torch differ by {check.max_abs_error:.1e} at most (allowed: {check.tolerance:.1e};"
            f" white is 1; {len(check.shapes)} sizes)"
        )
    else:
        reason = "" if was_refused else ": onnxruntime is not installed (pip install 'vsr[export]')"
        _say(f"not checked{reason}")
    _say("to build a TensorRT engine of it (a proposal, not yet run; set the shapes to your films):")
    for major, command in ((10, facts["trtexec"]["tensorrt10"]), (11, facts["trtexec"]["tensorrt11"])):
        print(f"# TensorRT {major}\n{printable(command)}", file=sys.stderr)


def _say(line: str) -> None:
    print(f"vsr: {printable(line)}", file=sys.stderr)
