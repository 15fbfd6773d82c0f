"""`vsr export` as a user meets it."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
import torch

from vsr.model import onnx_check
from vsr.model.loading import import_spandrel

Run = Callable[..., tuple[int, str, str]]


def test_the_name_goes_to_stdout_and_the_rest_is_said(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    status, out, err = run("export", tiny_weights, "-o", path)
    assert (status, out) == (0, f"{path}\n")
    first, second, third, *commands = err.splitlines()
    assert first == "vsr: tiny-x4 (SRVGGNetCompact, x4) in fp32, opset 17"
    assert second.startswith("vsr: ONNX Runtime and torch differ by ")
    assert "not yet run" in third
    assert [line for line in commands if line.startswith("#")] == ["# TensorRT 10", "# TensorRT 11"]
    assert list(tmp_path.iterdir()) == [path]
    assert onnx.load(path).opset_import[0].version == 17


def test_json_holds_the_facts(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "a b.onnx"
    status, out, err = run("export", tiny_weights, "-o", path, "--precision", "fp16", "--opset", 18, "--json")
    facts = json.loads(out)
    assert (status, err) == (0, "")
    content = path.read_bytes()
    assert (facts["num_bytes"], facts["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert facts["weights_sha256"] == hashlib.sha256(tiny_weights.read_bytes()).hexdigest()
    assert (facts["output"], facts["opset"], facts["precision"], facts["scale"]) == (str(path), 18, "fp16", 4)
    assert facts["is_checked"] is True
    assert 0 < facts["max_abs_error"] < facts["tolerance"]
    assert facts["checked_shapes"] == [[batch, 3, *size] for batch, *size in onnx_check.SHAPES]
    assert shlex.split(facts["trtexec"]["tensorrt10"])[:4] == [
        "trtexec",
        f"--onnx={path}",
        f"--saveEngine={tmp_path / 'a b.engine'}",
        "--stronglyTyped",
    ]
    assert "--stronglyTyped" not in facts["trtexec"]["tensorrt11"]


def test_a_file_that_is_off_is_not_left(
    run: Run, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(onnx_check.TOLERANCES, "fp16", 1e-9)
    status, out, err = run("export", tiny_weights, "-o", tmp_path / "off.onnx", "--precision", "fp16")
    assert (status, out) == (1, "")
    assert "the fp16 graph of tiny-x4 is off by" in err
    assert list(tmp_path.iterdir()) == []
    status, _, err = run("export", tiny_weights, "-o", tmp_path / "off.onnx", "--precision", "fp16", "--no-check")
    assert status == 0
    assert "vsr: not checked\n" in err


def test_what_is_there_is_replaced_only_on_request(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "there.onnx"
    path.write_bytes(b"mine")
    status, _, err = run("export", tiny_weights, "-o", path)
    assert status == 1
    assert "exists already" in err
    assert path.read_bytes() == b"mine"
    assert run("export", tiny_weights, "-o", path, "--overwrite")[0] == 0
    onnx.checker.check_model(onnx.load(path))


@pytest.mark.parametrize(
    ("name", "word"), [("model.engine", "ending in .onnx"), ("none/model.onnx", "there is no folder")]
)
def test_names_that_cannot_be_are_refused(run: Run, tiny_weights: Path, tmp_path: Path, name: str, word: str) -> None:
    status, _, err = run("export", tiny_weights, "-o", tmp_path / name)
    assert status == 1
    assert word in err


def test_wrong_usage(run: Run, tiny_weights: Path, tmp_path: Path) -> None:
    for arguments, word in (
        (("--opset", 12), "opset 12 is out of range"),
        (("--precision", "bf16"), "invalid choice"),
    ):
        status, _, err = run("export", tiny_weights, "-o", tmp_path / "x.onnx", *arguments)
        assert status == 2
        assert word in err


def test_networks_of_spandrel_are_always_checked(run: Run, tmp_path: Path) -> None:
    if find_spec("spandrel") is None:
        pytest.skip("spandrel is not installed")
    import_spandrel()  # not by itself: torchvision, which it wants, may need help
    from spandrel.architectures.SPAN import SPAN

    torch.manual_seed(5)
    torch.save(SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).state_dict(), tmp_path / "span.pth")
    path = tmp_path / "span.onnx"
    status, _, err = run("export", tmp_path / "span.pth", "-o", path, "--no-check")
    assert status == 1
    assert "span (SPAN) has to be traced" in err
    assert not path.exists()
    facts = json.loads(run("export", tmp_path / "span.pth", "-o", path, "--json")[1])
    assert (facts["architecture"], facts["is_checked"]) == ("SPAN", True)


def test_official_weights(run: Run, material: Path, tmp_path: Path) -> None:
    weights = material / "weights" / "realesr-animevideov3.pth"
    for precision, most in (("fp32", 1e-5), ("fp16", 5e-3)):
        status, out, _ = run(
            "export", weights, "-o", tmp_path / "x.onnx", "--overwrite", "--precision", precision, "--json"
        )
        facts = json.loads(out)
        assert status == 0
        assert 0 < facts["max_abs_error"] < most
        assert facts["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_without_onnxruntime_it_says_that_nothing_was_checked(
    run: Run, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_check, "has_runtime", lambda: False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = tmp_path / "tiny.onnx"
    status, _, err = run("export", tiny_weights, "-o", path)
    assert status == 0
    assert "not checked: onnxruntime is not installed (pip install 'vsr[export]')" in err
    facts = json.loads(run("export", tiny_weights, "-o", path, "--overwrite", "--json")[1])
    assert (facts["is_checked"], facts["max_abs_error"], facts["checked_shapes"]) == (False, None, [])
    status, _, err = run("export", tiny_weights, "-o", tmp_path / "other.onnx", "--check")
    assert status == 1
    assert "hint: pip install 'vsr[export]', or use --no-check" in err
    assert not (tmp_path / "other.onnx").exists()
