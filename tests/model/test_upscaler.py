"""The upscaler: sizes, tiles, precision, and what it does when memory or numbers run out."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vsr.errors import DeviceError, Interrupted, ProcessingError, SettingsError
from vsr.metrics import psnr
from vsr.model import precision as precision_module
from vsr.model import upscaler as upscaler_module
from vsr.model.compact import Compact
from vsr.model.loading import load_model
from vsr.model.memory import measure_cost
from vsr.model.network import InputConv2d, Network
from vsr.model.rrdb import RRDBNet
from vsr.model.tiling import BLEND_RAMP, choose_overlap
from vsr.model.upscaler import Upscaler
from vsr.pixels import describe_planes
from vsr.video.color import ColorTags


def make_network(module: nn.Module, *, scale: int = 4, halo: int | None = 0, multiple: int = 1) -> Network:
    module.eval().requires_grad_(False)
    return Network(module, scale, type(module).__name__, "test", halo, multiple, 0.0, True, None, None)


def make_compact(num_features: int = 16, num_conv: int = 3, scale: int = 4) -> Network:
    torch.manual_seed(0)
    return make_network(Compact(num_features, num_conv, scale), scale=scale, halo=num_conv + 2)


def make_small_rrdb(unshuffle: int) -> Network:
    torch.manual_seed(0)
    module = RRDBNet(num_features=8, num_blocks=1, growth=4, num_upsample=2, unshuffle=unshuffle)
    return make_network(module, scale=module.scale, halo=module.halo, multiple=unshuffle)


def make_picture(height: int, width: int, batch: int = 1) -> Tensor:
    """Smooth gradients, a sharp disc and some grain: B,3,H,W in 0..1."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    disc = ((y - 0.4) ** 2 + (x - 0.6) ** 2 < 0.05).float()
    planes = torch.stack([0.2 + 0.6 * x, 0.5 + 0.4 * torch.sin(9 * y + 5 * x), 0.3 * y + 0.6 * disc])
    grain = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    return (planes + 0.02 * grain).clamp(0, 1)


class Nearest(nn.Module):
    """Repeats every pixel `scale` times each way: what comes out is known exactly."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.gain = nn.Parameter(torch.ones(()))  # a parameter, so that the module has a dtype

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        rows = frames_BCHW.repeat_interleave(self.scale, dim=2)
        return rows.repeat_interleave(self.scale, dim=3)


# --- sizes ---


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (13, 17), (2, 97)])
@pytest.mark.parametrize("scale", [None, 0.25, 1.5, 2, 3.7])
def test_every_size_works(size: tuple[int, int], scale: float | None) -> None:
    upscale = Upscaler(make_compact(8, 1), scale=scale, device="cpu")
    result = upscale(make_picture(*size, batch=2))
    assert result.shape == (2, 3, *upscale.output_size(*size))
    assert result.dtype == torch.float32
    assert 0 <= float(result.min()) <= float(result.max()) <= 1


class Prepared(Nearest):
    """What TensorRT's module does, without it: wants to know the largest window before the first."""

    def __init__(self) -> None:
        super().__init__(4)
        self.largest: tuple[int, ...] = ()

    def prepare(self, *largest: int) -> None:
        self.largest = largest

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        assert all(side <= most for side, most in zip(frames_BCHW.shape[-2:], self.largest[1:], strict=True))
        return super().forward(frames_BCHW)


@pytest.mark.parametrize(("tile", "largest"), [("off", (1, 40, 53)), (16, (1, 24, 24))])
def test_an_engine_that_builds_for_a_size_hears_of_the_largest_window_first(
    monkeypatch: pytest.MonkeyPatch, tile: str | int, largest: tuple[int, ...]
) -> None:
    module = Prepared()
    monkeypatch.setattr("vsr.model.placement.make_tensorrt_module", lambda *_: module)
    upscale = Upscaler(make_compact(16, 3), device="cpu", precision="fp32", engine="tensorrt", tile=tile)
    picture = make_picture(40, 53)
    assert torch.equal(upscale(picture), Nearest(4)(picture))
    assert module.largest == largest
    assert not upscale.can_fill(describe_planes("yuv420p", ColorTags(1, 1, 1, 1)))


def test_tensorrt_needs_a_gpu() -> None:
    with pytest.raises(DeviceError, match="engine 'tensorrt' needs an NVIDIA GPU") as caught:
        Upscaler(make_compact(), device="cpu", engine="tensorrt")
    assert caught.value.hint == "use --device cuda"


def test_tiles_do_not_depend_on_how_cores_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blended tiles of another size are another picture."""
    monkeypatch.setattr(upscaler_module, "MAX_OPERATOR_SECONDS", 1e-5)
    before = torch.get_num_threads()
    upscale, sides = Upscaler(make_compact(), device="cpu"), set()
    try:
        for num_threads in (1, 2, 4):
            torch.set_num_threads(num_threads)
            (sibling,) = upscale.split(1)
            sibling(make_picture(100, 120))
            sides.add(sibling.tile)
    finally:
        torch.set_num_threads(before)
    assert len(sides) == 1
    assert None not in sides


def test_cost_is_measured_before_siblings_share_the_layers() -> None:
    upscale = Upscaler(make_compact(), device="cpu")
    assert all(sibling._cost is not None for sibling in upscale.split(2))


@pytest.mark.parametrize(
    ("halo", "tile", "expected"), [(5, 16, False), (200, 32, True), (200, 64, False), (5, "off", False)]
)
def test_blending_is_known_beforehand(halo: int, tile: str | int, expected: bool) -> None:
    network = make_network(make_compact().module, halo=halo)
    assert Upscaler(network, device="cpu", tile=tile).is_blended(64, 48) is expected


def test_output_size_rounds_half_up() -> None:
    upscale = Upscaler(make_compact(), scale=1.5, device="cpu")
    assert upscale.output_size(1, 3) == (2, 5)
    assert Upscaler(make_compact(), device="cpu").output_size(270, 480) == (1080, 1920)
    assert Upscaler(make_compact(), scale=0.1, device="cpu").output_size(1, 44) == (1, 4)


@pytest.mark.parametrize("size", [(1, 1), (31, 9), (64, 64)])
def test_sizes_of_a_network_with_unshuffle(size: tuple[int, int]) -> None:
    result = Upscaler(make_small_rrdb(2), device="cpu")(make_picture(*size))
    assert result.shape == (1, 3, 2 * size[0], 2 * size[1])


def test_strides_dtypes_and_grey_are_taken_as_they_are() -> None:
    upscale = Upscaler(make_compact(), device="cpu", precision="fp32")
    frames = make_picture(20, 24)
    expected = upscale(frames)
    assert torch.equal(upscale(frames.contiguous(memory_format=torch.channels_last)), expected)
    assert torch.equal(upscale(frames.mT.contiguous().mT), expected)
    assert torch.equal(upscale(frames.bfloat16()), upscale(frames.bfloat16().float()))
    assert upscale(torch.full((1, 1, 8, 8), 0.5).expand(1, 3, 8, 8)).shape == (1, 3, 32, 32)


def test_the_input_is_not_changed() -> None:
    frames = make_picture(12, 12) * 3 - 1
    before = frames.clone()
    for network in (make_network(nn.Identity(), scale=1), make_network(Nearest(1), scale=1)):
        assert torch.equal(Upscaler(network, device="cpu")(frames), before.clamp(0, 1))
        assert torch.equal(frames, before)


def test_the_network_is_not_changed() -> None:
    network = make_compact()
    Upscaler(network, device="cpu", precision="bf16")(make_picture(8, 8))
    assert {parameter.dtype for parameter in network.module.parameters()} == {torch.float32}
    assert not any(part._forward_pre_hooks for part in network.module.modules())


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (0, 3, 8, 8), (1, 3, 0, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="B,3,H,W"):
        Upscaler(make_compact(), device="cpu")(torch.zeros(shape))


def test_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="floating point"):
        Upscaler(make_compact(), device="cpu")(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 16.01])
def test_scales_out_of_range_are_refused(scale: float) -> None:
    with pytest.raises(SettingsError, match="scale"):
        Upscaler(make_compact(), scale=scale, device="cpu")


@pytest.mark.parametrize("tile", [0, 15, -64, "12", "all", "6.5"])
def test_tiles_out_of_range_are_refused(tile: str | int) -> None:
    with pytest.raises(SettingsError, match="tile"):
        Upscaler(make_compact(), tile=tile, device="cpu")


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="fp16"):
        Upscaler(make_compact(), device="cpu", precision="fp16")


# --- tiles ---


@pytest.mark.parametrize("size", [(64, 64), (61, 83), (16, 100), (17, 33)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tiles_equal_the_whole_frame(size: tuple[int, int], precision: str) -> None:
    network, frames = make_compact(), make_picture(*size, batch=2)
    whole = Upscaler(network, device="cpu", precision=precision, tile="off")(frames)
    tiled = Upscaler(network, device="cpu", precision=precision, tile=16)(frames)
    # Equal to the last bit with oneDNN on AVX-512; another kernel may choose its order of summing by the shape.
    tolerance = 1e-6 if precision == "fp32" else 1e-3
    torch.testing.assert_close(tiled, whole, rtol=0, atol=tolerance)


@pytest.mark.parametrize("multiple", [2, 4])
def test_tiles_of_a_network_with_unshuffle_equal_the_whole_frame(multiple: int) -> None:
    network = make_small_rrdb(multiple)
    assert network.halo is not None
    side = 3 * network.halo
    assert choose_overlap(side, network.halo) == (network.halo, 0)
    frames = make_picture(side + 31, 2 * side - 7)
    upscale = Upscaler(network, device="cpu", precision="fp32", tile=side)
    whole = Upscaler(network, device="cpu", precision="fp32", tile="off")(frames)
    torch.testing.assert_close(upscale(frames), whole, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(16, 50), st.sampled_from([None, 0, 3, 40]))
def test_tiles_of_a_copying_network_leave_no_trace(height: int, width: int, side: int, halo: int | None) -> None:
    frames = make_picture(height, width)
    upscale = Upscaler(make_network(Nearest(2), scale=2, halo=halo), device="cpu", precision="fp32", tile=side)
    expected = frames.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    # Blended weights sum to one exactly; the two products of a blend round once each.
    torch.testing.assert_close(upscale(frames), expected, rtol=0, atol=0 if halo in (0, 3) else 2e-7)


def test_a_blend_hides_what_tiles_disagree_about() -> None:
    """Tiles that differ by a constant meet without a step: no difference of neighbours exceeds the ramp's slope."""

    class Biased(Nearest):
        num_calls = 0

        def forward(self, frames_BCHW: Tensor) -> Tensor:
            self.num_calls += 1
            return super().forward(frames_BCHW) + 0.1 * (self.num_calls % 2)

    upscale = Upscaler(make_network(Biased(2), halo=None, scale=2), device="cpu", precision="fp32", tile=48)
    result = upscale(torch.full((1, 3, 48, 96), 0.5))
    step = result.diff(dim=3).abs().max()
    assert float(result.max() - result.min()) == pytest.approx(0.1, abs=1e-3)
    assert float(step) < 0.1 * 1.7 / (2 * BLEND_RAMP)


def test_the_tile_is_told() -> None:
    frames = make_picture(40, 60)
    for setting, expected in ((32, 32), ("32", 32), ("off", None), ("auto", None)):
        upscale = Upscaler(make_compact(), device="cpu", tile=setting)
        upscale(frames)
        assert upscale.tile == expected


def test_auto_tiles_when_memory_is_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    network, frames = make_compact(), make_picture(90, 120)
    cost = measure_cost(network.module, torch.device("cpu"))
    monkeypatch.setattr(
        upscaler_module, "measure_free_memory", lambda device: int(cost.bytes_per_pixel * 2 * 2600 / 0.6)
    )
    upscale = Upscaler(network, device="cpu", precision="fp32")
    result = upscale(frames)
    assert upscale.tile == 50 - 2 * 5
    whole = Upscaler(network, device="cpu", precision="fp32", tile="off")(frames)
    torch.testing.assert_close(result, whole, rtol=0, atol=1e-6)
    assert not upscale.warnings


# --- precision ---


def test_bf16_is_near_fp32() -> None:
    network, frames = make_compact(32, 8), make_picture(96, 128)
    exact = Upscaler(network, device="cpu", precision="fp32")(frames)
    assert psnr(Upscaler(network, device="cpu", precision="bf16")(frames), exact) > 50


class Overflowing(Nearest):
    """Gives Inf in half precision where the picture is bright, and the picture itself in fp32."""

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        result = super().forward(frames_BCHW)
        return result if self.gain.dtype == torch.float32 else result.where(result < 0.9, torch.inf)


def test_a_frame_that_overflows_is_repeated_in_fp32() -> None:
    upscale = Upscaler(make_network(Overflowing(2), scale=2), device="cpu", precision="bf16")
    frames = torch.full((3, 3, 6, 6), 0.5)
    frames[1, 2, 3, 3] = 1.0
    result = upscale(frames)
    assert torch.equal(result, frames.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    upscale(frames)
    assert upscale.stats.fp32_repeats == 2
    assert [text for text in upscale.warnings if "fp32" in text] == upscale.warnings
    assert len(upscale.warnings) == 1


def test_broken_frames_are_only_marked_where_the_caller_wants_that() -> None:
    upscale = Upscaler(make_network(Overflowing(2), scale=2), device="cpu", precision="bf16")
    frames = torch.full((3, 3, 6, 6), 0.5)
    frames[1, 2, 3, 3] = 1.0
    broken = torch.ones(3, dtype=torch.bool)
    result = upscale(frames, broken=broken)
    assert broken.tolist() == [False, True, False]
    assert torch.equal(result[2], frames[2].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2))
    assert (upscale.stats.fp32_repeats, upscale.warnings) == (0, [])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_is_broken_in_fp32_too_is_said(precision: str, value: float) -> None:
    module = InputConv2d(3, 3, 1)
    network = make_network(module, scale=1)
    assert module.bias is not None
    module.bias[1] = value
    with pytest.raises(ProcessingError, match="NaN or Inf"):
        Upscaler(network, device="cpu", precision=precision)(make_picture(4, 4))


def test_a_network_that_is_not_half_safe_stays_in_fp32() -> None:
    network = make_compact()
    network = Network(**{**vars(network), "half_safe": False})
    upscale = Upscaler(network, device="cpu", precision="bf16")
    assert upscale.precision == "fp32"
    assert "bf16" in upscale.warnings[0]
    assert not Upscaler(network, device="cpu", precision="auto").warnings


def test_deep_pictures_get_full_precision_where_it_was_left_to_the_upscaler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module, "has_native_bf16", lambda: True)
    network, gradient = load_model("fast"), torch.linspace(0, 1, 40 * 48).reshape(1, 1, 40, 48).expand(1, 3, 40, 48)
    automatic = Upscaler(network, device="cpu")
    assert automatic.precision == "bf16"
    assert automatic.for_depth(8) is automatic
    deep = automatic.for_depth(16)
    assert deep.precision == "fp32"
    exact = Upscaler(network, device="cpu", precision="fp32")
    assert torch.equal(deep(gradient), exact(gradient))
    assert not torch.equal(automatic(gradient), exact(gradient))
    assert deep.warnings is automatic.warnings
    assert exact.for_depth(16) is exact
    asked = Upscaler(network, device="cpu", precision="bf16")
    assert asked.for_depth(16) is asked


# --- running out of memory ---


class Greedy(Nearest):
    """Raises as an allocator would where its input has more than `limit` pixels."""

    def __init__(self, limit: int, error: Exception) -> None:
        super().__init__(2)
        self.limit, self.error = limit, error

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        if frames_BCHW[:, 0].numel() > self.limit:
            raise self.error
        return super().forward(frames_BCHW)


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_takes_smaller_portions(error: Exception) -> None:
    upscale = Upscaler(make_network(Greedy(40 * 40, error), scale=2), device="cpu", precision="fp32")
    frames = make_picture(70, 100, batch=2)
    result = upscale(frames)
    torch.testing.assert_close(result, frames.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), rtol=0, atol=0)
    assert upscale.stats.tile_reductions == 3  # one frame at a time, tiles of 50, of 25
    assert upscale.tile == 25
    assert len(upscale.warnings) == 3
    upscale(frames)
    assert upscale.stats.tile_reductions == 3
    upscale(make_picture(80, 90))
    assert upscale.tile == 25


def test_memory_too_small_for_any_tile_is_said() -> None:
    upscale = Upscaler(make_network(Greedy(10, MemoryError()), scale=2), device="cpu")
    with pytest.raises(ProcessingError, match="out of memory"):
        upscale(make_picture(64, 64))


def test_other_failures_are_not_taken_for_memory() -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    upscale = Upscaler(make_network(Greedy(10, error), scale=2), device="cpu")
    with pytest.raises(RuntimeError, match="mat1"):
        upscale(make_picture(64, 64))
    assert not upscale.warnings


# --- cancelling ---


def test_a_set_event_stops_before_the_first_layer() -> None:
    cancel = threading.Event()
    upscale = Upscaler(make_compact(), device="cpu", cancel=cancel)
    upscale(make_picture(8, 8))
    cancel.set()
    with pytest.raises(Interrupted):
        upscale(make_picture(8, 8))
    cancel.clear()
    assert upscale(make_picture(8, 8)).shape == (1, 3, 32, 32)


def test_halting_one_halts_its_siblings() -> None:
    upscale = Upscaler(make_compact(), device="cpu")
    siblings = upscale.split(2)
    upscale.halt.set()
    for sibling in siblings:
        with pytest.raises(Interrupted):
            sibling(make_picture(8, 8))
    upscale.halt.clear()
    assert siblings[0](make_picture(8, 8)).shape == (1, 3, 32, 32)


def test_cancelling_stops_inside_a_frame() -> None:
    cancel = threading.Event()

    class Slow(nn.Module):
        num_calls = 0

        def forward(self, frames_BCHW: Tensor) -> Tensor:
            Slow.num_calls += 1
            time.sleep(0.01)
            return frames_BCHW

    network = make_network(nn.Sequential(*(Slow() for _ in range(1000))), scale=1)
    upscale = Upscaler(network, device="cpu", cancel=cancel, tile="off")
    timer = threading.Timer(0.1, cancel.set)
    timer.start()
    with pytest.raises(Interrupted):
        upscale(make_picture(4, 4))
    timer.join()
    assert 0 < Slow.num_calls < 500
