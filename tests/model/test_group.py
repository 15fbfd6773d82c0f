"""One upscaler on several devices; places on the CPU stand in for GPUs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vsr.errors import DeviceError, Interrupted
from vsr.model import precision as precision_module
from vsr.model.group import UpscalerGroup
from vsr.model.loading import load_model
from vsr.model.network import Network
from vsr.model.upscaler import MEMORY_SHARE, Upscaler


@pytest.fixture
def network(tiny_weights: Path) -> Network:
    return load_model(str(tiny_weights))


class Overflowing(nn.Module):
    """Gives Inf in half precision, and the picture itself in fp32."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        return frames_BCHW if self.gain.dtype == torch.float32 else frames_BCHW + torch.inf


def owner(upscaler: Upscaler) -> int:
    """Siblings of one device share the forms of the network there."""
    return id(upscaler._forms)


@pytest.mark.parametrize(
    ("num_devices", "num_threads", "expected"),
    [(1, 3, [0, 0, 0]), (2, 2, [0, 1]), (2, 5, [0, 1, 0, 1, 0]), (3, 2, [0, 1]), (3, 3, [0, 1, 2]), (2, 1, [0])],
)
def test_upscalers_are_dealt_out_in_turn(
    network: Network, num_devices: int, num_threads: int, expected: list[int]
) -> None:
    group = UpscalerGroup(network, ["cpu"] * num_devices)
    owners = [owner(group), *(owner(other) for other in group._others)]
    assert [owners.index(owner(one)) for one in group.split(num_threads)] == expected


def test_memory_is_shared_within_a_device_alone(network: Network) -> None:
    shares = [one._memory_share for one in UpscalerGroup(network, ["cpu", "cpu"]).split(3)]
    assert shares == [MEMORY_SHARE / 2, MEMORY_SHARE, MEMORY_SHARE / 2]


def test_every_device_gives_the_same_pictures(network: Network) -> None:
    frames = torch.rand(1, 3, 20, 24)
    expected = Upscaler(network, device="cpu")(frames)
    for one in UpscalerGroup(network, ["cpu", "cpu"]).split(4):
        assert torch.equal(one(frames), expected)


def test_what_it_says_of_itself(network: Network) -> None:
    group = UpscalerGroup(network, ["cpu", "cpu"], scale=2)
    assert (group.placement, group.num_devices, group.scale) == ("cpu,cpu", 2, 2)
    assert Upscaler(network, device="cpu").placement == "cpu"


def test_counts_are_common_and_warnings_come_once() -> None:
    network = Network(Overflowing().eval().requires_grad_(False), 1, "Overflowing", "test", 0)
    group = UpscalerGroup(network, ["cpu", "cpu"], precision="bf16")
    frames = torch.rand(2, 3, 4, 4)
    for one in group.split(4):
        assert torch.equal(one(frames), frames)
    assert group.stats.fp32_repeats == 8
    assert group.warnings == ["bf16 overflowed in test: such frames are done in fp32"]


def test_a_halt_and_a_cancel_stop_all_of_them(network: Network) -> None:
    cancel = threading.Event()
    group = UpscalerGroup(network, ["cpu", "cpu"], cancel=cancel)
    siblings = group.split(2)
    for event in (cancel, group.halt):
        event.set()
        for one in siblings:
            with pytest.raises(Interrupted):
                one(torch.rand(1, 3, 8, 8))
        event.clear()


def test_a_device_that_is_not_there_is_refused(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="cuda:1"):
        UpscalerGroup(network, ["cpu", "cuda:1"])


def test_deep_pictures_get_full_precision_on_every_device(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module, "has_native_bf16", lambda: True)
    group = UpscalerGroup(network, ["cpu", "cpu"])
    assert group.for_depth(8) is group
    deep = group.for_depth(10).split(2)
    assert [one.precision for one in deep] == ["fp32", "fp32"]
    assert owner(deep[0]) != owner(deep[1])
    assert [one.precision for one in group.split(2)] == ["bf16", "bf16"]
