"""Weights files of every dialect load alike; broken and hostile ones are refused by name and run nothing."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vsr.errors import WeightsError
from vsr.model import loading, weights
from vsr.model.compact import Compact
from vsr.model.loading import load_model
from vsr.model.rrdb import RRDBNet
from vsr.model.srresnet import SRResNet

State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(2)


@pytest.fixture
def no_spandrel(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ImportError("No module named 'spandrel'")

    monkeypatch.setattr(loading, "import_spandrel", absent)


def in_dialect_2019(state: State) -> State:
    renamed = {}
    for key, value in state.items():
        key = re.sub(r"^body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", key)
        key = key.replace("conv_body", "trunk_conv").replace("conv_up", "upconv").replace("conv_hr", "HRconv")
        renamed[key] = value
    return renamed


def in_dialect_2018(state: State, num_blocks: int, num_upsample: int) -> State:
    places = {"conv_first": "model.0", "conv_body": f"model.1.sub.{num_blocks}"}
    places |= {f"conv_up{stage}": f"model.{3 * stage}" for stage in range(1, num_upsample + 1)}
    places |= {"conv_hr": f"model.{3 * num_upsample + 2}", "conv_last": f"model.{3 * num_upsample + 4}"}
    renamed = {}
    for key, value in state.items():
        name, _, kind = key.rpartition(".")
        if name.startswith("body."):
            _, block, rdb, conv = name.split(".")
            renamed[f"model.1.sub.{block}.{rdb.upper()}.{conv}.0.{kind}"] = value
        else:
            renamed[f"{places[name]}.{kind}"] = value
    return renamed


# What loads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_upsample", "unshuffle", "scale"), [(0, 1, 1), (1, 1, 2), (2, 1, 4), (3, 1, 8), (2, 2, 2)]
)
def test_three_dialects_of_one_network(tmp_path: Path, num_upsample: int, unshuffle: int, scale: int) -> None:
    module = RRDBNet(8, 3, 4, num_upsample, unshuffle).eval()
    state = module.state_dict()
    files = {
        "realesrgan.pth": {"params_ema": state, "params": {key: value + 1 for key, value in state.items()}},
        "2019.pth": in_dialect_2019(state),
        "2018.pth": in_dialect_2018(state, 3, num_upsample),
    }
    frames = torch.rand(1, 3, 7, 6)
    with torch.inference_mode():
        expected = module(frames)
    for name, content in files.items():
        torch.save(content, tmp_path / name)
        network = load_model(tmp_path / name)
        assert (network.architecture, network.scale, network.multiple) == ("RRDBNet", scale, unshuffle)
        assert network.name == name.removesuffix(".pth")
        with torch.inference_mode():
            assert torch.equal(network.module(frames), expected)


def test_dialects_have_the_keys_of_the_files_in_the_wild() -> None:
    state = RRDBNet(8, 2, 4).state_dict()
    assert {
        "model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight", "model.1.sub.2.bias", "model.3.weight", "model.6.weight",
        "model.8.weight", "model.10.bias",
    } <= set(in_dialect_2018(state, 2, 2))  # fmt: skip
    assert {
        "conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "trunk_conv.bias", "upconv1.weight", "upconv2.weight",
        "HRconv.weight", "conv_last.bias",
    } <= set(in_dialect_2019(state))  # fmt: skip


@pytest.mark.parametrize("module", [Compact(8, 0, 2), Compact(12, 5, 3), Compact(4, 1, 1), SRResNet(8, 3, 1)])
def test_hyper_parameters_come_from_the_shapes(tmp_path: Path, module: Compact | SRResNet) -> None:
    torch.save(module.state_dict(), tmp_path / "net.pth")
    network = load_model(tmp_path / "net.pth")
    assert (network.architecture, network.scale, network.halo) == (module.architecture, module.scale, module.halo)
    assert network.flops_per_pixel == module.flops_per_pixel
    frames = torch.rand(1, 3, 5, 6)
    with torch.inference_mode():
        assert torch.equal(network.module(frames), module.eval()(frames))


def test_loaded_network_is_ready_to_run(tmp_path: Path) -> None:
    torch.save(Compact(8, 1, 2).half().state_dict(), tmp_path / "half.pth")
    module = load_model(tmp_path / "half.pth").module
    assert not module.training
    assert {(p.dtype, p.requires_grad, p.device.type) for p in module.parameters()} == {(torch.float32, False, "cpu")}


WRAPPERS: dict[str, Callable[[State], object]] = {
    "bare": lambda state: state,
    "ordered": lambda state: OrderedDict(state),
    "params": lambda state: {"params": state},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}},
    "nested": lambda state: {"model": {"state_dict": state}},
    "only mapping": lambda state: {"whatever": state, "step": 5},
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled": lambda state: {"params": {f"module._orig_mod.{key}": value for key, value in state.items()}},
    "with epoch": lambda state: state | {"epoch": 7},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_come_off(tmp_path: Path, wrapper: str) -> None:
    state = Compact(8, 1, 2).state_dict()
    torch.save(WRAPPERS[wrapper](state), tmp_path / "net.pt")
    loaded = load_model(tmp_path / "net.pt").module.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_old_and_new_file_formats(tmp_path: Path) -> None:
    state = Compact(8, 1, 2).state_dict()
    torch.save(state, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(state, tmp_path / "zip.pth")
    save_file(state, tmp_path / "net.safetensors", metadata={"licence": "CC0-1.0", "scale": "2"})
    (tmp_path / "safetensors.pth").write_bytes((tmp_path / "net.safetensors").read_bytes())
    for name in ("legacy.pth", "zip.pth", "net.safetensors", "safetensors.pth"):
        loaded = load_model(tmp_path / name).module.state_dict()
        assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert load_model(tmp_path / "net.safetensors").licence == "CC0-1.0"
    assert load_model(tmp_path / "zip.pth").licence is None


# What does not -------------------------------------------------------------------------------------------------------


class Bomb:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.victim, "boom")


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle", "eval", "inside a state"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_hostile_pickles_do_not_execute(tmp_path: Path, kind: str, suffix: str) -> None:
    path, victim = tmp_path / f"net{suffix}", tmp_path / "victim"
    if kind in ("zip", "legacy"):
        torch.save({"params": Bomb(victim)}, path, _use_new_zipfile_serialization=kind == "zip")
    elif kind == "bare pickle":
        path.write_bytes(pickle.dumps(Bomb(victim)))
    elif kind == "eval":
        code = f"open({str(victim)!r}, 'w').close()".encode()
        path.write_bytes(b"cbuiltins\neval\n(V" + code + b"\ntR.")
    else:
        torch.save(Compact(8, 1, 2).state_dict() | {"extra": Bomb(victim)}, path)
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    assert not victim.exists()
    assert str(path) in caught.value.message
    if kind in ("zip", "inside a state"):
        assert "not opened" in caught.value.message
    # The bomb is live: the test would notice an unpickler that is less careful.
    if kind == "bare pickle":
        pickle.loads(path.read_bytes())
        assert victim.exists()


def saved(path: Path, content: object) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


def make_broken(kind: str, path: Path) -> None:
    scratch = path.with_name("scratch")
    contents: dict[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "html": lambda: b"\n<!DOCTYPE html>\n<html><body>404</body></html>",
        "xml": lambda: b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "lfs": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "text": lambda: b"Not Found",
        "random": lambda: bytes(range(256)) * 8,
        "truncated zip": lambda: saved(scratch, Compact(8, 1, 2).state_dict())[:-700],
        "half a zip": lambda: saved(scratch, Compact(8, 1, 2).state_dict())[:3000],
        "zip of something": lambda: b"PK\x03\x04",
        "list": lambda: saved(scratch, [torch.zeros(3)]),
        "no tensors": lambda: saved(scratch, {"epoch": 3, "params": {}}),
        "wrapped too deep": lambda: saved(scratch, {"a": {"a": {"a": {"a": {"a": {"w": torch.zeros(1)}}}}}}),
    }
    path.write_bytes(contents[kind]())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "is empty"),
        ("html", "web page"),
        ("xml", "web page"),
        ("lfs", "Git LFS"),
        ("text", "no weights file"),
        ("random", "no weights file"),
        ("truncated zip", "cut off"),
        ("half a zip", "cut off"),
        ("zip of something", "cut off"),
        ("list", "no tensors"),
        ("no tensors", "no tensors"),
        ("wrapped too deep", "no tensors"),
    ],
)
def test_files_that_are_no_weights(tmp_path: Path, kind: str, message: str) -> None:
    path = tmp_path / "net.pth"
    make_broken(kind, path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_model(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"~no-such-user/x\.pth does not exist"):
        load_model("~no-such-user/x.pth")
    with pytest.raises(WeightsError, match=r"nothing\.pth does not exist"):
        load_model(tmp_path / "nothing.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("keep", [4, 9, 100, -1])
def test_truncated_safetensors(tmp_path: Path, keep: int) -> None:
    save_file(Compact(8, 1, 2).state_dict(), tmp_path / "whole.safetensors")
    path = tmp_path / "net.safetensors"
    path.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:keep])
    with pytest.raises(WeightsError, match="broken or cut off") as caught:
        load_model(path)
    assert caught.value.__cause__ is not None


def test_torchscript_archive(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Conv2d(3, 3, 1)).save(path)
    assert zipfile.is_zipfile(path)
    with pytest.raises(WeightsError, match="TorchScript"):
        load_model(path)


def spoil(state: State, kind: str) -> None:
    key = next(key for key in state if key.endswith("2.weight"))
    if kind == "missing":
        del state[key]
    elif kind == "extra":
        state["body.2.gamma" if "body.2.weight" in state else "gamma"] = torch.zeros(1)
    elif kind == "misshaped":
        state[key] = state[key][..., :2]
    elif kind == "nan":
        state[key] = state[key].clone()
        state[key].view(-1)[-1] = float("nan")
    else:
        state[key] = torch.full_like(state[key], float("-inf"))


@pytest.mark.parametrize(
    ("module", "key"),
    [
        (Compact(8, 2, 2), "body.2.weight"),
        (RRDBNet(8, 1, 4), "body.0.rdb1.conv2.weight"),
        (SRResNet(8, 1, 1), "blocks.0.conv2.weight"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "words"), [("missing", "lacks"), ("misshaped", "shape"), ("nan", "NaN"), ("infinite", "infinity")]
)
def test_wrong_tensors_are_named(
    tmp_path: Path, module: Compact | RRDBNet | SRResNet, key: str, kind: str, words: str
) -> None:
    state = dict(module.state_dict())
    spoil(state, kind)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=words) as caught:
        load_model(tmp_path / "net.pth")
    assert key in caught.value.message


@pytest.mark.parametrize("module", [RRDBNet(8, 1, 4), SRResNet(8, 1, 1)])
def test_tensors_without_a_place_are_named(tmp_path: Path, module: RRDBNet | SRResNet) -> None:
    state = dict(module.state_dict()) | {f"gamma{i}": torch.zeros(1) for i in range(5)}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="no place for: gamma0, gamma1, gamma2 and 2 more"):
        load_model(tmp_path / "net.pth")


STRANGE: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse_coo": lambda tensor: tensor.to_sparse(),
    "complex64": lambda tensor: tensor.to(torch.complex64),
    "float8_e4m3fn": lambda tensor: tensor.to(torch.float8_e4m3fn),
    "float8_e5m2": lambda tensor: tensor.to(torch.float8_e5m2),
    "int8": lambda tensor: (tensor * 100).to(torch.int8),
    "int64": lambda tensor: (tensor * 100).to(torch.int64),
    "uint16": lambda tensor: (tensor * 0).to(torch.uint16),
    "bool": lambda tensor: tensor > 0,
    "meta": lambda tensor: tensor.to("meta"),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_that_are_no_plain_weights_are_named(tmp_path: Path, kind: str, suffix: str) -> None:
    state = dict(SRResNet(8, 1, 1).state_dict())
    state["blocks.0.conv2.weight"] = STRANGE[kind](state["blocks.0.conv2.weight"])
    path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    elif kind in ("sparse_coo", "meta"):
        pytest.skip("safetensors cannot hold it")
    else:
        save_file(state, path)
    with pytest.raises(WeightsError, match=rf"blocks\.0\.conv2\.weight \(.*{kind}") as caught:
        load_model(path)
    assert caught.value.hint


def test_quantised_tensors_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)
    with pytest.raises(WeightsError, match=r"body\.0\.weight \(qint8\)"):
        weights._check_kinds(Path("net.pth"), {"body.0.weight": quantised})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_plain_float_loads(tmp_path: Path, dtype: torch.dtype) -> None:
    module = SRResNet(8, 1, 1).to(dtype)  # its normalisations count in int64
    torch.save(module.state_dict(), tmp_path / "net.pth")
    loaded = load_model(tmp_path / "net.pth").module.state_dict()
    assert all(torch.equal(loaded[key], value.to(loaded[key].dtype)) for key, value in module.state_dict().items())


def test_foreign_names_cannot_drive_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "n\x1b[2Jet.pth"
    torch.save(dict(SRResNet(8, 1, 1).state_dict()) | {"ga\x1b[31m\nmma": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"ga\\x1b\[31m\\nmma") as caught:
        load_model(path)
    assert caught.value.message.isprintable()
    torch.save({"a\rb": torch.zeros(1)}, path)
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    assert caught.value.message.isprintable()


def test_a_null_in_the_name_of_a_file() -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        load_model("a\0b.pth")


@pytest.mark.parametrize(
    "keys",
    [
        ["body.0.weight", "body.999999.weight"],
        ["body.0.rdb1.conv1.weight", "body.999999999.rdb1.conv1.weight", "conv_first.weight", "conv_last.weight"],
        ["model.1.sub.0.RDB1.conv1.0.weight", "model.999999.weight", "model.0.weight"],
        ["model.1.sub.0.RDB1.conv1.0.weight"],
        ["body.0.weight"],
        ["body.0.bias"],
        ["RRDB_trunk.0.RDB1.conv1.weight"],
        ["blocks.0.norm1.weight", "prelu_first.weight"],
    ],
)
@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (8, 8), (0, 0, 3, 3), (1,), ()])
@pytest.mark.timeout(20)
def test_nonsense_of_known_keys_ends_quickly_and_clearly(tmp_path: Path, keys: list[str], shape: tuple[int]) -> None:
    torch.save({key: torch.zeros(shape) for key in keys}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"net\.pth"):
        load_model(tmp_path / "net.pth")


@pytest.mark.parametrize("channels", [1, 4])
def test_only_colour_networks(tmp_path: Path, channels: int) -> None:
    modules = (
        Compact(8, 1, 2, channels, channels),
        RRDBNet(8, 1, 4, out_channels=channels),
        SRResNet(8, 1, 1, channels=channels),
    )
    for module in modules:
        torch.save(module.state_dict(), tmp_path / "net.pth")
        with pytest.raises(WeightsError, match=f"takes {channels} and gives {channels} channels"):
            load_model(tmp_path / "net.pth")


@pytest.mark.usefixtures("no_spandrel")
def test_unknown_network_without_spandrel(tmp_path: Path) -> None:
    torch.save({"stem.gamma": torch.zeros(3), "stem.beta": torch.zeros(3)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"stem\.gamma, stem\.beta") as caught:
        load_model(tmp_path / "net.pth")
    assert "pip install 'vsr[models]'" in str(caught.value.hint)


@pytest.mark.usefixtures("no_spandrel")
def test_esrgan_plus_is_left_to_spandrel(tmp_path: Path) -> None:
    state = in_dialect_2018(RRDBNet(8, 1, 4).state_dict(), 1, 2)
    state["model.1.sub.0.RDB1.conv1x1.weight"] = torch.zeros(4, 8, 1, 1)
    torch.save(state, tmp_path / "plus.pth")
    with pytest.raises(WeightsError, match="none that vsr knows itself"):
        load_model(tmp_path / "plus.pth")


def test_translation_leaves_strangers_alone() -> None:
    stranger = {"stem.weight": torch.zeros(1)}
    assert weights.translate(stranger) == stranger
    # An unknown key among known ones stays, to be named by whoever fills the network.
    state = in_dialect_2019(RRDBNet(8, 1, 4).state_dict()) | stranger
    assert set(weights.translate(state)) == set(RRDBNet(8, 1, 4).state_dict()) | set(stranger)
