"""Mixing two networks weight by weight: exact weights, refusals, and a file that loads again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file

import networks
from vsr.errors import ModelError, SettingsError
from vsr.model.blending import blend_networks, write_blend
from vsr.model.loading import load_model
from vsr.model.network import Network
from vsr.model.srresnet import SRResNet


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Network, Network]:
    """Two compact networks of one shape and different weights, from files with headers."""
    made = []
    for seed, name in enumerate(("one", "other")):
        path = networks.write_compact(tmp_path / f"{name}.safetensors", seed=seed)
        facts = {"licence": "MIT", "residual": "nearest", "steps": str(seed)}
        save_file(load_tensors(path), path, metadata=facts)
        made.append(load_model(path))
    return made[0], made[1]


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.8, 1.0])
def test_alpha_is_the_share_of_the_second(pair: tuple[Network, Network], tmp_path: Path, alpha: float) -> None:
    first, second = (network.module.state_dict() for network in pair)
    path = tmp_path / "mixed.safetensors"
    write_blend(blend_networks(*pair, alpha), path)
    mixed = load_model(path)
    assert (mixed.architecture, mixed.scale, mixed.licence) == (pair[0].architecture, 4, "MIT")
    assert mixed.module.state_dict().keys() == first.keys()
    for key, value in mixed.module.state_dict().items():
        expected = (1 - alpha) * first[key].double() + alpha * second[key].double()
        torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-7)
        if alpha in (0, 1):
            assert torch.equal(value, (first, second)[int(alpha)][key])


def test_the_header_says_what_was_mixed(pair: tuple[Network, Network], tmp_path: Path) -> None:
    path = tmp_path / "mixed.safetensors"
    write_blend(blend_networks(*pair, 0.8), path)
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    assert facts == {
        "blend_alpha": "0.8",
        "blend_rule": "(1 - alpha) * first + alpha * second",
        "blend_first": "one",
        "blend_first_sha256": hashlib.sha256((tmp_path / "one.safetensors").read_bytes()).hexdigest(),
        "blend_second": "other",
        "blend_second_sha256": hashlib.sha256((tmp_path / "other.safetensors").read_bytes()).hexdigest(),
        "licence": "MIT",
        "residual": "nearest",  # what both say; not `steps`, of which they say different things
    }


def test_networks_of_another_shape_scale_or_kind_are_refused(pair: tuple[Network, Network], tmp_path: Path) -> None:
    first = pair[0]
    wider = load_model(networks.write_compact(tmp_path / "wider.safetensors", num_features=16))
    deeper = load_model(networks.write_compact(tmp_path / "deeper.safetensors", num_conv=2))
    smaller = load_model(networks.write_compact(tmp_path / "x2.safetensors", scale=2))
    for other, word in (
        (wider, r"body\.0\.weight \(8x3x3x3, 16x3x3x3\)"),
        (deeper, "layers differ"),
        (smaller, "scale"),
    ):
        with pytest.raises(ModelError, match=word) as caught:
            blend_networks(first, other, 0.5)
        assert f"{first.name} and {other.name}" in caught.value.message
    foreign = Network(SRResNet(), scale=4, architecture="SRResNet", name="other")
    with pytest.raises(ModelError, match="architecture"):
        blend_networks(first, foreign, 0.5)


@pytest.mark.parametrize("alpha", [-0.1, 1.01, float("nan")])
def test_alpha_out_of_range_is_refused(pair: tuple[Network, Network], alpha: float) -> None:
    with pytest.raises(SettingsError, match="alpha"):
        blend_networks(*pair, alpha)


def test_licences_add_up(pair: tuple[Network, Network]) -> None:
    first = pair[0]
    other = Network(**{**vars(pair[1]), "licence": "BSD-3-Clause"})
    unknown = Network(**{**vars(pair[1]), "licence": None})
    assert blend_networks(first, other, 0.5).metadata["licence"] == "BSD-3-Clause AND MIT"
    assert "licence" not in blend_networks(first, unknown, 0.5).metadata


def test_counters_are_not_mixed() -> None:
    """Batch normalisation counts its batches in whole numbers."""
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        module = SRResNet()
        for name, buffer in module.named_buffers():
            if name.endswith("num_batches_tracked"):
                buffer.fill_(10 + seed)
        made.append(Network(module.eval(), scale=4, architecture="SRResNet", name=str(seed)))
    blend = blend_networks(*made, 0.5)
    counters = [value for key, value in blend.state.items() if key.endswith("num_batches_tracked")]
    assert counters
    assert all(int(value) == 10 and value.dtype == torch.int64 for value in counters)
