"""Windows are trusted after they gave what the whole frame gives, to the last bit, and not otherwise."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from vsr.errors import Interrupted
from vsr.model.compact import Compact
from vsr.model.exactness import WindowCheck
from vsr.model.network import Network
from vsr.model.rrdb import RRDBNet
from vsr.model.tiling import Span, Tile
from vsr.model.upscaler import Upscaler
from vsr.pixels import describe_planes
from vsr.video.color import ColorTags

CODES = describe_planes("yuv420p", ColorTags(1, 1, 1, 1))
WINDOW = Tile(Span(0, 64, 0, 40), Span(32, 96, 50, 80))


def make_upscaler(module: nn.Module, halo: int | None, precision: str = "fp32", **options: object) -> Upscaler:
    module.eval().requires_grad_(False)
    network = Network(module, module.scale, "test", "test", halo, getattr(module, "multiple", 1))
    return Upscaler(network, precision=precision, device="cpu", **options)  # type: ignore[arg-type]


def make_compact(**options: object) -> Upscaler:
    torch.manual_seed(0)
    return make_upscaler(Compact(8, 2), 4, **options)  # type: ignore[arg-type]


class Counting(nn.Module):
    """Repeats pixels, and counts what it is asked for; `is_sly`: small pictures come out otherwise in the last bit."""

    scale = 2

    def __init__(self, is_sly: bool) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.is_sly = is_sly
        self.sizes: list[tuple[int, ...]] = []

    def __deepcopy__(self, memo: object) -> Counting:
        return self

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        self.sizes.append(tuple(frames_BCHW.shape[-2:]))
        frames_BCHW = frames_BCHW.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return frames_BCHW * (1 + 2e-7) if self.is_sly and frames_BCHW.shape[-1] < 200 else frames_BCHW


@pytest.mark.parametrize("codes", [None, CODES])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "window",
    [
        WINDOW,
        Tile(Span(36, 100, 50, 100), Span(56, 120, 80, 120)),
        Tile(Span(0, 100, 0, 100), Span(0, 64, 0, 40)),
        Tile(Span(3, 67, 21, 40), Span(13, 77, 33, 50)),
    ],
)
def test_windows_of_plain_networks_are_exact(window: Tile, precision: str, codes: object) -> None:
    """On the machines seen so far; on another the answer may be no, and films come out right all the same."""
    check = WindowCheck(codes)  # type: ignore[arg-type]
    assert check.is_exact(window, 100, 120, make_compact(precision=precision))
    assert check.inexact == set()


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_dense_networks_too(unshuffle: int) -> None:
    torch.manual_seed(0)
    module = RRDBNet(num_features=8, num_blocks=1, growth=4, num_upsample=2, unshuffle=unshuffle)
    window = Tile(Span(20, 99, 80, 99), Span(24, 120, 90, 110))
    assert WindowCheck(None).is_exact(window, 99, 161, make_upscaler(module, module.halo))


def test_tiled_frames_are_compared_with_their_tiles() -> None:
    assert WindowCheck(CODES).is_exact(WINDOW, 100, 120, make_compact(tile=40))


def test_a_window_that_differs_in_the_last_bit_is_found_out() -> None:
    check = WindowCheck(None)
    assert not check.is_exact(WINDOW, 100, 120, make_upscaler(Counting(is_sly=True), 0))
    assert check.inexact == {(64, 64)}


def test_a_field_wider_than_stated_is_found_out() -> None:
    torch.manual_seed(0)
    upscaler = make_upscaler(Compact(8, 2), halo=3)  # it is 4
    assert not WindowCheck(CODES).is_exact(WINDOW, 100, 120, upscaler)


def test_a_network_of_unknown_reach_has_no_windows() -> None:
    module = Counting(is_sly=False)
    assert not WindowCheck(None).is_exact(WINDOW, 100, 120, make_upscaler(module, None))


def test_each_size_is_compared_once_and_the_frame_too() -> None:
    module = Counting(is_sly=False)
    upscaler, check = make_upscaler(module, 0, tile="off"), WindowCheck(None)
    other = Tile(Span(8, 72, 10, 20), Span(0, 64, 10, 20))  # the same size elsewhere
    wider = Tile(Span(0, 64, 10, 20), Span(0, 80, 10, 20))
    assert all(check.is_exact(window, 100, 120, upscaler) for window in (WINDOW, other, wider, WINDOW))
    assert module.sizes == [(100, 120), (64, 64), (64, 80)]
    assert check.is_exact(WINDOW, 90, 120, upscaler)
    assert module.sizes[3:] == [(90, 120), (64, 64)]


def test_large_frames_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.model.exactness.MAX_KEPT_BYTES", 0)
    check, upscaler = WindowCheck(CODES), make_compact()
    other = Tile(Span(0, 70, 0, 40), Span(32, 96, 50, 80))
    assert [check.is_exact(window, 120, 160, upscaler) for window in (WINDOW, other)] == [True, True]
    assert check._whole is None


def test_another_number_of_threads_is_another_question() -> None:
    module = Counting(is_sly=False)
    upscaler, check = make_upscaler(module, 0, tile="off"), WindowCheck(None)
    num_threads = torch.get_num_threads()
    try:
        for number in (1, 2, 1):
            torch.set_num_threads(number)
            assert check.is_exact(WINDOW, 100, 120, upscaler)
    finally:
        torch.set_num_threads(num_threads)
    assert module.sizes == [(100, 120), (64, 64), (64, 64)]


def test_it_stops_when_asked_to() -> None:
    cancel = threading.Event()
    upscaler = make_compact(cancel=cancel)
    cancel.set()
    with pytest.raises(Interrupted):
        WindowCheck(CODES).is_exact(WINDOW, 100, 120, upscaler)
