"""Networks by name and by file, down to the pictures they make."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vsr.errors import ModelError, WeightsError
from vsr.model import loading, resample, weights
from vsr.model.loading import describe, load_model


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VSR_MODELS", raising=False)


@pytest.fixture
def spandrel() -> ModuleType:
    try:
        module: ModuleType = loading.import_spandrel()
    except ImportError as exc:
        pytest.skip(f"spandrel is not installed: {exc}")
    return module


def luma_psnr(a: Tensor, b: Tensor, border: int = 4) -> float:
    """PSNR in dB on Y of BT.601 (limited range, 8-bit scale) without the border; RGB 0..1 rounded to 8 bits."""
    weights_rgb = torch.tensor([65.481, 128.553, 24.966]).view(3, 1, 1)
    a, b = ((x.clamp(0, 1).mul(255).round() / 255 * weights_rgb).sum(-3) + 16 for x in (a, b))
    error = (a - b)[..., border:-border, border:-border].square().mean().item()
    return 10 * float(np.log10(255**2 / error))


def shrink(picture: Tensor) -> Tensor:
    """To a quarter by an antialiased bicubic (a = -0.5, as MATLAB), rounded to 8 bits."""
    small = F.interpolate(picture, scale_factor=0.25, mode="bicubic", antialias=True)
    return small.clamp(0, 1).mul(255).round() / 255


def enlarge(picture: Tensor) -> Tensor:
    return F.interpolate(picture, scale_factor=4, mode="bicubic", antialias=True)


def test_fast_is_there_without_a_network() -> None:
    network = load_model("fast", download=False)
    assert describe(network) == {
        "name": "fast",
        "architecture": "SRVGGNetCompact",
        "scale": 4,
        "parameters": 163280,
        "flops_per_pixel": 324288.0,
        "halo": 18,
        "multiple": 1,
        "half_safe": True,
        "licence": "MIT",
        "source": str(network.source),
    }
    json.dumps(describe(network))
    assert not network.module.training
    assert not any(parameter.requires_grad for parameter in network.module.parameters())


def test_fast_sharpens_edges_better_than_bicubic() -> None:
    """A disc, a slanted edge and slanted bars, drawn at four times the size and shrunk to it without aliasing."""
    y, x = torch.meshgrid(torch.arange(768.0), torch.arange(768.0), indexing="ij")
    shapes = (
        ((x - 300) ** 2 + (y - 340) ** 2 < 200**2) * 0.5
        + (3 * x + y > 2000) * 0.3
        + (torch.sin((x + 0.3 * y) / 30) > 0) * 0.1
    )
    truth = F.avg_pool2d(torch.stack([shapes * 0.9 + 0.05, shapes, shapes * 0.8 + 0.1])[None], 4)
    small = shrink(truth)
    with torch.inference_mode():
        output = load_model("fast").module(small)
    assert output.shape == truth.shape
    assert luma_psnr(output, truth) > luma_psnr(enlarge(small), truth) + 4.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "least"), [("realtime", 31.1), ("fast", 31.4), ("quality", 31.5), ("fast-x2", 37.0)])
def test_embedded_networks_keep_their_scores_on_set5(
    material: Path, name: str, least: float, dtype: torch.dtype
) -> None:
    """A floor just under what their cards say: PSNR on Y with inputs of a MATLAB-compatible bicubic."""
    network = load_model(name)
    module = network.module.to(dtype=dtype, memory_format=torch.channels_last)
    scores = []
    for path in sorted((material / "images" / "Set5").glob("*.png")):
        truth = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None] / 255
        small = resample.shrink(truth, network.scale).clamp(0, 1).mul(255).round() / 255
        with torch.inference_mode():
            scores.append(luma_psnr(module(small), truth))
    assert len(scores) == 5
    assert sum(scores) / 5 >= least


def test_third_party_weights_compute_what_spandrel_computes(material: Path, spandrel: ModuleType) -> None:
    path = material / "weights" / "realesr-animevideov3.pth"
    network = load_model(path)
    assert (network.architecture, network.scale, network.halo) == ("SRVGGNetCompact", 4, 18)
    assert network.name == "realesr-animevideov3"
    descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(weights.read_state(path))
    frames = torch.rand(1, 3, 33, 41)
    with torch.inference_mode():
        torch.testing.assert_close(network.module(frames), descriptor.model(frames), rtol=0, atol=1e-6)


def test_repacked_weights_do_not_pass_for_the_official_ones(material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_MODELS", str(material / "weights"))
    with pytest.raises(WeightsError, match="not the published file"):
        load_model("realesr-animevideov3")
    assert load_model("realesr-animevideov3.pth").scale == 4  # by its file name it is just a file


@pytest.mark.parametrize(("num_in", "scale"), [(3, 4), (12, 2), (48, 1)])
def test_rrdb_computes_what_spandrel_computes(spandrel: ModuleType, tmp_path: Path, num_in: int, scale: int) -> None:
    from vsr.model.rrdb import RRDBNet

    torch.manual_seed(3)
    state = RRDBNet(8, 2, 32, unshuffle={3: 1, 12: 2, 48: 4}[num_in]).state_dict()
    torch.save({"params_ema": state}, tmp_path / "net.pth")
    network = load_model(tmp_path / "net.pth")
    descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(state))
    assert network.scale == descriptor.scale == scale
    frames = torch.rand(1, 3, 13, 18)  # not a multiple of 2 and 4: both pad by reflection
    with torch.inference_mode():
        torch.testing.assert_close(network.module(frames), descriptor.model(frames), rtol=0, atol=1e-6)


def test_network_that_only_spandrel_knows(spandrel: ModuleType, tmp_path: Path) -> None:
    from spandrel.architectures.Swin2SR import Swin2SR

    torch.manual_seed(4)
    foreign = Swin2SR(
        img_size=8, window_size=8, depths=[1, 1], embed_dim=12, num_heads=[2, 2], upscale=2, upsampler="pixelshuffle"
    )
    torch.save({"params": foreign.state_dict()}, tmp_path / "net.pth")
    network = load_model(tmp_path / "net.pth")
    assert (network.architecture, network.scale, network.halo) == ("Swin2SR", 2, None)
    assert network.multiple == spandrel.ModelLoader().load_from_file(tmp_path / "net.pth").size_requirements.multiple_of
    assert not network.half_safe  # spandrel does not promise it for float16
    assert describe(network)["parameters"] > 1000
    for height, width in ((16, 16), (5, 11), (1, 1)):
        frames = torch.rand(2, 3, height, width)
        with torch.inference_mode():
            output = network.module(frames)
        assert output.shape == (2, 3, 2 * height, 2 * width)
        assert output.dtype == torch.float32
    frames = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(network.module(frames), foreign.eval()(frames).clamp(0, 1))


@pytest.mark.usefixtures("spandrel")
def test_copies_of_foreign_networks_in_half_precision(tmp_path: Path) -> None:
    from spandrel.architectures.SPAN import SPAN

    torch.manual_seed(5)
    torch.save(SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).state_dict(), tmp_path / "net.pth")
    network = load_model(tmp_path / "net.pth")
    assert (network.architecture, network.scale, network.half_safe) == ("SPAN", 2, True)
    half = copy.deepcopy(network.module).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    frames = torch.rand(2, 3, 9, 7)
    with torch.inference_mode():
        output, expected = half(frames), network.module(frames)
    assert output.dtype == expected.dtype == torch.float32
    assert torch.equal(output, output.bfloat16().float())  # it did run in half precision
    assert (output - expected).abs().mean() < 0.1 * expected.std()


def test_network_that_nobody_knows(spandrel: ModuleType, tmp_path: Path) -> None:
    torch.save({"stem.gamma": torch.zeros(3)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"none that vsr or spandrel can build .*stem\.gamma"):
        load_model(tmp_path / "net.pth")


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model called 'fasst'") as caught:
        load_model("fasst")
    assert caught.value.hint == "did you mean fast or fast-x2?"
    with pytest.raises(ModelError, match="not on this machine"):
        load_model("bsrgan-x2", download=False)
    with pytest.raises(WeightsError, match="does not exist"):
        load_model(str(tmp_path / "net.pth"))


def test_package_and_catalogue_import_no_torch() -> None:
    code = "import sys, vsr.model, vsr.model.catalog; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "from vsr.model import Network, describe, load_model; assert load_model('fast').scale == 4"
    subprocess.run([sys.executable, "-c", code], check=True)
