"""The networks compute what was published, at any size, in any precision, and reach exactly as far as they say."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from networks import SMALL, make
from vsr.model.compact import Compact
from vsr.model.network import FullPrecisionConv2d, InputConv2d, depth_to_space, pad_to_multiple
from vsr.model.rrdb import RRDBNet

State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(1)


def conv(state: State, name: str, features: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(features, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def rrdb_of_the_paper(state: State, frames: Tensor, num_blocks: int, num_upsample: int, unshuffle: int) -> Tensor:
    """ESRGAN's figure 4 and Real-ESRGAN's section 3.3, from the flat state dictionary, one line per step."""
    batch, colours, height, width = frames.shape
    cells = frames.reshape(batch, colours, height // unshuffle, unshuffle, width // unshuffle, unshuffle)
    cells = cells.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    first = conv(state, "conv_first", cells)
    trunk = first
    for block in range(num_blocks):
        before_block = trunk
        for rdb in (1, 2, 3):
            name = f"body.{block}.rdb{rdb}.conv"
            x = trunk
            for i in (1, 2, 3, 4):
                new = conv(state, f"{name}{i}", x)
                x = torch.cat((x, torch.where(new > 0, new, 0.2 * new)), 1)
            trunk = trunk + 0.2 * conv(state, f"{name}5", x)
        trunk = before_block + 0.2 * trunk
    features = first + conv(state, "conv_body", trunk)
    for stage in range(1, num_upsample + 1):
        features = features.repeat_interleave(2, -1).repeat_interleave(2, -2)
        features = F.leaky_relu(conv(state, f"conv_up{stage}", features), 0.2)
    return conv(state, "conv_last", F.leaky_relu(conv(state, "conv_hr", features), 0.2))


@pytest.mark.parametrize(("num_upsample", "unshuffle"), [(0, 1), (1, 1), (2, 1), (3, 1), (2, 2), (2, 4), (1, 2)])
def test_rrdb_computes_the_published_network(num_upsample: int, unshuffle: int) -> None:
    network = RRDBNet(8, 2, 4, num_upsample, unshuffle).double().eval()
    frames = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    expected = rrdb_of_the_paper(network.state_dict(), frames, 2, num_upsample, unshuffle)
    with torch.inference_mode():
        torch.testing.assert_close(network(frames), expected, rtol=1e-12, atol=1e-12)


def test_compact_computes_the_published_network() -> None:
    network = Compact(8, 3, 4).double().eval()
    frames = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    state = network.state_dict()
    features = frames
    for i in range(0, 8, 2):
        features = conv(state, f"body.{i}", features)
        slope = state[f"body.{i + 1}.weight"].view(-1, 1, 1)
        features = features.clamp(min=0) + slope * features.clamp(max=0)
    expected = F.pixel_shuffle(conv(state, "body.8", features), 4)
    expected = expected + F.interpolate(frames, scale_factor=4, mode="nearest")
    with torch.inference_mode():
        torch.testing.assert_close(network(frames), expected, rtol=1e-12, atol=1e-12)


def test_srresnet_computes_the_published_network() -> None:
    network = make("srresnet-x4").double()
    frames = torch.rand(1, 3, 7, 9, dtype=torch.float64)
    state = network.state_dict()

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias

    first = F.prelu(conv(state, "conv_first", frames), state["prelu_first.weight"])
    x = first
    for i in (0, 1):
        y = F.prelu(norm(f"blocks.{i}.norm1", conv(state, f"blocks.{i}.conv1", x)), state[f"blocks.{i}.prelu.weight"])
        x = x + norm(f"blocks.{i}.norm2", conv(state, f"blocks.{i}.conv2", y))
    x = first + norm("norm_mid", conv(state, "conv_mid", x))
    for i in (0, 1):
        x = F.prelu(F.pixel_shuffle(conv(state, f"upsample.{i}.conv", x), 2), state[f"upsample.{i}.prelu.weight"])
    with torch.inference_mode():
        torch.testing.assert_close(network(frames), conv(state, "conv_last", x), rtol=1e-12, atol=1e-12)


def test_published_sizes() -> None:
    """Parameters and work of ESRGAN's and Real-ESRGAN's networks."""
    with torch.device("meta"):
        rrdb, compact = RRDBNet(), Compact()
    assert sum(p.numel() for p in rrdb.parameters()) == 16_697_987
    assert sum(p.numel() for p in compact.parameters()) == 621_424
    assert rrdb.flops_per_pixel == pytest.approx(35.85e6, rel=1e-3)
    assert compact.flops_per_pixel == pytest.approx(1.238e6, rel=1e-3)


@pytest.mark.parametrize("kind", SMALL)
def test_flops_are_those_of_the_convolutions_that_run(kind: str) -> None:
    network = make(kind)
    counted = 0

    def count(module: torch.nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal counted
        counted += 2 * module.weight.numel() * output.shape[-1] * output.shape[-2]

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.rand(1, 3, 8, 12))
    assert network.flops_per_pixel == pytest.approx(counted / (8 * 12))


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 1), (13, 6), (8, 8)])
def test_any_size_and_batch(kind: str, size: tuple[int, int]) -> None:
    network = make(kind)
    frames = torch.rand(2, 3, *size)
    with torch.inference_mode():
        output = network(frames)
        assert output.shape == (2, 3, size[0] * network.scale, size[1] * network.scale)
        assert output.dtype == torch.float32
        torch.testing.assert_close(output[1:], network(frames[1:]))  # frames of a batch do not see each other
        # A view with strange strides is the same picture.
        strange = frames.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        torch.testing.assert_close(network(strange), output)


@pytest.mark.parametrize("kind", SMALL)
def test_halo_is_the_exact_receptive_field(kind: str) -> None:
    """Derivatives beyond the halo are zero without exception; at the halo, in some phase, they are not."""
    network = make(kind).double()
    halo, multiple, scale = network.halo, network.multiple, network.scale
    left = -(-halo // multiple) * multiple + multiple
    width = 2 * left + multiple
    furthest = 0
    for along_width in (False, True):
        for pixel in range(left, left + multiple):
            frames = torch.rand(1, 3, multiple, width, dtype=torch.float64)
            frames = (frames if along_width else frames.mT.contiguous()).requires_grad_()
            output = network(frames)
            output = output if along_width else output.mT
            output[..., pixel * scale : (pixel + 1) * scale].sum().backward()
            assert frames.grad is not None
            gradient = frames.grad if along_width else frames.grad.mT
            reached = gradient.abs().sum((0, 1, 2)).nonzero().flatten()
            distance = int(max(pixel - reached.min(), reached.max() - pixel))
            assert distance <= halo
            furthest = max(furthest, distance)
    assert furthest == halo


@pytest.mark.parametrize("kind", SMALL)
def test_without_gradients_nothing_changes(kind: str) -> None:
    """The in-place and single-pass ways of inference give the very numbers of the plain way."""
    network, frames = make(kind), torch.rand(1, 3, 9, 11)
    expected = network(frames)
    expected.sum().backward()  # and the plain way can be trained
    assert all(parameter.grad is not None for parameter in network.parameters())
    before = frames.clone()
    with torch.inference_mode():
        assert torch.equal(network(frames), expected)
    assert torch.equal(frames, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", SMALL)
def test_half_precision_keeps_a_float32_picture(kind: str, dtype: torch.dtype) -> None:
    network, frames = make(kind), torch.rand(1, 3, 9, 11)
    with torch.inference_mode():
        expected = network(frames)
        half = network.to(dtype=dtype, memory_format=torch.channels_last)
        output = half(frames)
    assert output.dtype == torch.float32
    assert next(half.parameters()).dtype == dtype
    # A picture rounded to half precision would be unchanged by rounding it again.
    assert not torch.equal(output.to(dtype).float(), output)
    error = (output - expected).square().mean().sqrt()
    assert error < (0.02 if dtype == torch.bfloat16 else 0.003) * expected.std()


def test_last_convolution_stays_in_float32_with_its_own_bits() -> None:
    network = RRDBNet(8, 1, 4).eval()
    weight = network.conv_last.weight.detach().clone()
    network.to(torch.bfloat16)
    assert network.conv_last.weight.dtype == torch.float32
    assert torch.equal(network.conv_last.weight, weight)
    assert network.conv_hr.weight.dtype == torch.bfloat16
    assert network.to(torch.float64).conv_last.weight.dtype == torch.float64


@pytest.mark.parametrize(("kernel", "height"), [(3, 1), (3, 15), (3, 16), (3, 17), (3, 97), (9, 97), (9, 33)])
def test_last_convolution_in_strips_is_the_whole(kernel: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FullPrecisionConv2d, "_STRIP_VALUES_CPU", 1)  # strips of 16 rows, the least there is
    layer = FullPrecisionConv2d(8, 3, kernel)
    features = torch.randn(2, 8, height, 5).bfloat16()
    expected = F.conv2d(features.float(), layer.weight, layer.bias, padding=kernel // 2)
    with torch.inference_mode():
        torch.testing.assert_close(layer(features), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_first_convolution_sees_what_half_precision_rounds_away(dtype: torch.dtype) -> None:
    layer = InputConv2d(3, 1, 1).to(dtype)
    layer.weight.data.copy_(torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1))
    layer.bias.data.zero_()
    frames = torch.full((1, 3, 4, 4), 0.75)
    frames[:, 0] += 2**-14  # half precision has steps of 2**-8 or 2**-11 here
    with torch.inference_mode():
        assert torch.equal(layer(frames), torch.full((1, 1, 4, 4), 2**-14, dtype=dtype))
        assert torch.equal(layer(frames.to(dtype)), torch.zeros(1, 1, 4, 4, dtype=dtype))


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_depth_to_space_is_shuffle_and_nearest(factor: int, memory_format: torch.memory_format) -> None:
    values = torch.randn(2, 3 * factor**2, 5, 7).bfloat16().contiguous(memory_format=memory_format)
    base = torch.rand(2, 3, 5, 7)
    nearest = base.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    expected = F.pixel_shuffle(values.float(), factor) + nearest
    plain = depth_to_space(values, factor, base)
    with torch.inference_mode():
        fused = depth_to_space(values, factor, base)
    assert plain.dtype == fused.dtype == torch.float32
    assert fused.is_contiguous()
    assert torch.equal(plain, expected)
    assert torch.equal(fused, expected)


def test_padding_mirrors_where_it_can() -> None:
    row = torch.arange(5.0).view(1, 1, 1, 5)
    assert pad_to_multiple(row, 1) is row
    assert pad_to_multiple(row.expand(1, 1, 4, 5), 4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert pad_to_multiple(row[..., :1], 4)[0, 0].tolist() == [[0.0] * 4] * 4
    assert pad_to_multiple(row, 4).shape == (1, 1, 4, 8)


def test_a_network_that_shrinks_is_refused() -> None:
    with pytest.raises(ValueError, match="shrinks"):
        RRDBNet(8, 1, 4, num_upsample=1, unshuffle=4)
