"""Generators: what is built, how it begins, and that it ships as what it was trained as."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vsr.errors import SettingsError
from vsr.model.compact import SlopedReLU
from vsr.model.loading import load_model
from vsr.training.generators import NetworkSettings, build_generator, fold

SMALL = {"num_features": 8, "num_conv": 3, "num_blocks": 2, "growth": 4}


@pytest.mark.parametrize("architecture", ["compact", "rrdb", "srresnet"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_every_architecture_enlarges_and_learns(architecture: str, scale: int):
    generator = build_generator(NetworkSettings(architecture, scale=scale, **SMALL))
    output = generator(torch.rand(2, 3, 9, 7))
    assert output.shape == (2, 3, 9 * scale, 7 * scale)
    output.square().mean().backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_what_ships_is_what_was_trained(slope: float, tmp_path):
    """Folded, saved and loaded as a user would: the same pictures, from the SRVGGNetCompact that others know."""
    generator = build_generator(NetworkSettings(scale=3, slope=slope, initialisation="identity", **SMALL))
    frames = torch.rand(1, 3, 11, 13)
    expected = generator.eval()(frames)
    path = tmp_path / "small.safetensors"
    save_file(fold(generator).state_dict(), path)
    network = load_model(path)
    assert (network.architecture, network.scale) == ("SRVGGNetCompact", 3)
    with torch.inference_mode():
        torch.testing.assert_close(network.module(frames), expected, rtol=0, atol=1e-6)
    assert [layer.common_slope is not None for layer in network.module.body if isinstance(layer, SlopedReLU)] == [
        True
    ] * 4


def test_a_slope_learned_per_channel_is_no_common_one():
    layer = SlopedReLU(4)
    nn.init.uniform_(layer.weight)
    layer.simplify()
    assert layer.common_slope is None
    features = torch.randn(1, 4, 5, 5)
    with torch.inference_mode():
        assert torch.equal(layer(features), nn.functional.prelu(features, layer.weight))


def test_beginning_as_identity_carries_the_picture_through():
    """Positive features pass each hidden layer nearly unchanged; a usual initialisation scrambles them."""

    def likeness(initialisation: str) -> float:
        torch.manual_seed(0)
        settings = NetworkSettings(num_features=16, num_conv=3, slope=0.1, initialisation=initialisation)
        hidden = build_generator(settings).body[2:-1]
        features = torch.rand(1, 16, 24, 24)
        return torch.corrcoef(torch.stack((features.flatten(), hidden(features).detach().flatten())))[0, 1].item()

    assert likeness("identity") > likeness("usual") + 0.2


def test_fold_leaves_the_trained_network_as_it_was():
    generator = build_generator(NetworkSettings(slope=0.2, **SMALL)).train()
    folded = fold(generator)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(layer.weight.abs().sum() > 0 for layer in generator.body if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize(
    "wrong",
    [
        {"architecture": "swin"},
        {"scale": 0},
        {"architecture": "rrdb", "scale": 3},
        {"slope": 1.0},
        {"initialisation": "zeros"},
        {"num_features": 0},
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(wrong: dict[str, object]):
    (key,) = [key for key in wrong if key != "architecture"] or ["architecture"]
    with pytest.raises(SettingsError, match=f"network.{key}"):
        NetworkSettings(**wrong)
