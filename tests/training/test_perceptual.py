"""The perceptual loss: the right layers, the right weights, a gradient, and never random features in silence."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import trainings
from vsr.errors import SettingsError, TrainingError
from vsr.model.vision import import_torchvision
from vsr.progress import SilentProgress
from vsr.training import perceptual
from vsr.training.distributed import Ranks
from vsr.training.generators import build_generator
from vsr.training.perceptual import PERCEPTUAL_LAYERS, VGG19, PerceptualLoss, find_vgg19
from vsr.training.stages import build_stage

REAL_ESRGAN = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
SHALLOW = {"conv1_2": 0.1, "relu2_1": 2.0}
SHAPES = {0: (64, 3, 3, 3), 2: (64, 64, 3, 3), 5: (128, 64, 3, 3)}  # VGG19 as far as conv2_1


def shallow_state() -> dict[str, Tensor]:
    """The first layers of a VGG19 and a bit of its classifier, as torchvision names them; seeded."""
    generator = torch.Generator().manual_seed(3)
    state = {}
    for place, shape in SHAPES.items():
        state[f"features.{place}.weight"] = 0.1 * torch.randn(shape, generator=generator)
        state[f"features.{place}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return state | {"classifier.6.bias": torch.zeros(1000)}


@pytest.fixture
def vgg_file(tmp_path: Path) -> Path:
    torch.save(shallow_state(), tmp_path / "vgg19.pth")
    return tmp_path / "vgg19.pth"


@pytest.fixture(autouse=True)
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the caches of this machine nor the network: whoever asks for VGG19 finds nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VSR_MODELS", raising=False)
    monkeypatch.setattr(perceptual, "VGG19", replace(VGG19, url=None))


def pictures(side: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, side, side, generator=generator), torch.rand(2, 3, side, side, generator=generator)


# Layers --------------------------------------------------------------------------------------------------------------


def test_names_stand_where_torchvision_has_them() -> None:
    with torch.device("meta"):
        features = import_torchvision().models.vgg19(weights=None).features
    block, conv = 1, 0
    for place, layer in enumerate(features):
        if isinstance(layer, nn.MaxPool2d):
            block, conv = block + 1, 0
        elif isinstance(layer, nn.Conv2d):
            conv += 1
            assert perceptual._place(f"conv{block}_{conv}") == place
        else:
            assert perceptual._place(f"relu{block}_{conv}") == place
    assert len(PERCEPTUAL_LAYERS) == 32
    assert perceptual._place("conv5_4") == 34


def by_hand(frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """conv1_2 before its activation and relu2_1, written out."""
    state = shallow_state()

    def conv(values: Tensor, place: int) -> Tensor:
        return F.conv2d(values, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1)

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    values = (frames_BCHW - mean[:, None, None]) / std[:, None, None]
    conv1_2 = conv(conv(values, 0).clamp(min=0), 2)
    return conv1_2, conv(F.max_pool2d(conv1_2.clamp(min=0), 2), 5).clamp(min=0)


@pytest.mark.parametrize("criterion", ["l1", "mse"])
def test_loss_is_the_one_written_out(vgg_file: Path, criterion: str) -> None:
    output, target = pictures()
    differences = [a - b for a, b in zip(by_hand(output), by_hand(target), strict=True)]
    means = [(d.abs() if criterion == "l1" else d**2).mean() for d in differences]
    loss = PerceptualLoss(SHALLOW, criterion, vgg_file)(output, target)
    assert loss.item() == pytest.approx((0.1 * means[0] + 2.0 * means[1]).item(), rel=1e-5)
    assert by_hand(output)[0].min() < 0, "before the activation there are negative values"


def test_only_as_deep_as_needed(vgg_file: Path) -> None:
    loss = PerceptualLoss({"conv1_2": 1.0}, weights=vgg_file)
    assert len(loss.features) == 3
    assert sum(parameter.numel() for parameter in loss.parameters()) == (3 * 9 + 1) * 64 + (64 * 9 + 1) * 64


def test_conv5_4_is_the_last_convolution_and_its_gradient_arrives() -> None:
    loss = PerceptualLoss({"conv5_4": 1.0}, weights="random")
    assert sum(parameter.numel() for parameter in loss.parameters()) == 20_024_384  # VGG19 without classifier
    assert isinstance(loss.features[-1], nn.Conv2d)
    output, target = pictures()
    (features,) = loss.extract(target).values()
    assert features.shape == (2, 512, 1, 1)
    assert features.min() < 0 < features.max()
    loss(output.requires_grad_(), target).backward()
    assert output.grad is not None
    assert output.grad.abs().sum() > 0


# Gradient ------------------------------------------------------------------------------------------------------------


def test_gradient_reaches_the_generator_and_not_vgg(vgg_file: Path) -> None:
    loss = PerceptualLoss(SHALLOW, weights=vgg_file)
    generator = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    low, high = pictures()
    high.requires_grad_()
    loss(generator(low), high).backward()
    for parameter in generator.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
    assert high.grad is None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in loss.parameters())


def test_gradient_is_the_slope(vgg_file: Path) -> None:
    loss = PerceptualLoss(SHALLOW, "mse", vgg_file).double()
    output, target = (picture[:1].double() for picture in pictures(4))
    assert torch.autograd.gradcheck(lambda x: loss(x, target), output.requires_grad_())


def test_descending_the_loss_leads_to_the_target(vgg_file: Path) -> None:
    loss = PerceptualLoss(SHALLOW, "mse", vgg_file)
    output, target = pictures()
    before, distance = loss(output, target).item(), (output - target).abs().mean().item()
    output.requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss(output, target).backward()
        optimizer.step()
    assert loss(output, target).item() < before / 3
    assert (output - target).abs().mean().item() < distance


def test_training_mode_does_not_touch_it(vgg_file: Path) -> None:
    loss = PerceptualLoss(SHALLOW, weights=vgg_file)
    trainer = nn.ModuleList([loss]).train()
    assert trainer.training
    assert not any(module.training for module in loss.modules())


def test_autocast_and_channels_last(vgg_file: Path) -> None:
    loss = PerceptualLoss(SHALLOW, weights=vgg_file)
    output, target = pictures()
    expected = loss(output, target).item()
    loss = loss.to(memory_format=torch.channels_last)
    output = output.contiguous(memory_format=torch.channels_last).requires_grad_()
    assert loss(output, target).item() == pytest.approx(expected, rel=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(output, target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=0.02)
    value.backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert loss(output.bfloat16(), target.bfloat16()).item() == pytest.approx(expected, rel=0.02)


# Weights -------------------------------------------------------------------------------------------------------------


def test_every_form_of_a_file_gives_the_same(vgg_file: Path, tmp_path: Path) -> None:
    features = {k.removeprefix("features."): v for k, v in shallow_state().items() if k.startswith("features.")}
    save_file(features, tmp_path / "features.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in shallow_state().items()}}, tmp_path / "wrapped.pth")
    output, target = pictures()
    losses = {
        PerceptualLoss(SHALLOW, weights=path)(output, target).item()
        for path in (vgg_file, tmp_path / "features.safetensors", tmp_path / "wrapped.pth")
    }
    assert len(losses) == 1
    assert PerceptualLoss(SHALLOW, weights=vgg_file).notes == ()


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    normalised = shallow_state()  # as VGG19 with batch normalisation: the second convolution stands one place further
    normalised["features.3.weight"] = normalised.pop("features.2.weight")
    torch.save(normalised, tmp_path / "vgg19_bn.pth")
    thin = {key: value[:32] for key, value in shallow_state().items()}
    torch.save(thin, tmp_path / "thin.pth")
    (tmp_path / "noise.pth").write_bytes(b"no weights at all")
    for name, reason in (
        ("vgg19_bn.pth", "lacks 2.weight"),
        ("thin.pth", "another shape"),
        ("noise.pth", "no weights file"),
        ("nowhere.pth", "does not exist"),
    ):
        with pytest.raises(TrainingError, match=reason) as caught:
            PerceptualLoss(SHALLOW, weights=tmp_path / name)
        assert name in caught.value.message
        assert "perceptual_weights" in str(caught.value.hint)


def test_random_features_only_on_request_and_said() -> None:
    with pytest.raises(TrainingError, match="VGG19") as caught:
        PerceptualLoss({"conv1_1": 1.0})
    assert 'perceptual_weights = "random"' in str(caught.value.hint)
    loss = PerceptualLoss({"conv1_1": 1.0}, weights="random")
    assert len(loss.notes) == 1
    assert "RANDOM" in loss.notes[0]


def test_random_features_are_the_same_everywhere_and_of_one_size_at_any_depth() -> None:
    torch.manual_seed(1)
    first = PerceptualLoss(REAL_ESRGAN, weights="random")
    state_of_torch = torch.get_rng_state()
    second = PerceptualLoss(REAL_ESRGAN, weights="random")
    assert torch.equal(torch.get_rng_state(), state_of_torch), "a resumed run draws its own numbers from there"
    output, _ = pictures(32)
    ours, others = first.extract(output), second.extract(output)
    assert list(ours) == [2, 7, 16, 25, 34]
    assert all(torch.equal(ours[place], others[place]) for place in ours)
    assert all(0.3 < float(values.std()) < 10 for values in ours.values())


@pytest.fixture
def published(vgg_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[bytes, list[str]]]:
    """A server on this machine that publishes `vgg_file` as VGG19: its content, and the list of requests so far."""
    content, requests = vgg_file.read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            if not self.path.endswith(VGG19.file_name):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        entry = replace(
            VGG19,
            url=f"http://127.0.0.1:{httpd.server_port}/models/{VGG19.file_name}",
            num_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        monkeypatch.setattr(perceptual, "VGG19", entry)
        yield content, requests
        httpd.shutdown()
        thread.join()


def test_the_published_file_is_downloaded_once(published: tuple[bytes, list[str]], vgg_file: Path) -> None:
    content, requests = published
    steps: list[tuple[int, int]] = []
    output, target = pictures()
    loss = PerceptualLoss(SHALLOW, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (len(content), len(content))
    assert loss(output, target).item() == PerceptualLoss(SHALLOW, weights=vgg_file)(output, target).item()
    assert find_vgg19().read_bytes() == content
    assert len(requests) == 1
    assert loss.notes == ()


def test_a_training_shows_the_download(published: tuple[bytes, list[str]], tmp_path: Path) -> None:
    content, _ = published
    titles, amounts = [], []

    class Ear(SilentProgress):
        def start(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
            titles.append((title, total, unit))

        def advance(self, amount: int, note: str = "") -> None:
            amounts.append(amount)

    recipe = trainings.make_recipe(tmp_path, perceptual_weight=1, perceptual_layers="{conv1_2 = 1.0}")
    build_stage(recipe, build_generator(recipe.network), Ranks(0, 1, torch.device("cpu")), Ear())
    assert set(titles) == {("downloading VGG19", len(content), "B")}
    assert sum(amounts) == len(content)


def test_the_hub_cache_comes_first_if_it_is_whole(published: tuple[bytes, list[str]], tmp_path: Path) -> None:
    content, requests = published
    in_hub = tmp_path / "torch" / "hub" / "checkpoints" / VGG19.file_name
    in_hub.parent.mkdir(parents=True)
    in_hub.write_bytes(content)
    assert find_vgg19() == in_hub
    assert requests == []
    in_hub.write_bytes(content[:-1] + b"?")
    assert find_vgg19() != in_hub
    assert len(requests) == 1


def test_a_refusal_of_the_server_names_the_ways_out(
    published: tuple[bytes, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "VGG19", replace(perceptual.VGG19, url=f"{perceptual.VGG19.url}.gone"))
    with pytest.raises(TrainingError, match="404") as caught:
        PerceptualLoss(SHALLOW)
    assert 'perceptual_weights = "random"' in str(caught.value.hint)
    assert 'perceptual_weights = "FILE.pth"' in str(caught.value.hint)


def test_the_published_facts_agree_with_each_other() -> None:
    """torchvision writes the first digits of the sha256 into the name. The size: 4 bytes for each of 143.7 million
    parameters, and the container's some thousand."""
    assert VGG19.url is not None
    assert VGG19.url.endswith(f"/vgg19-{VGG19.sha256[:8]}.pth")
    assert len(VGG19.sha256) == 64
    enum = import_torchvision().models.VGG19_Weights.IMAGENET1K_V1
    assert enum.url == VGG19.url
    assert 0 < VGG19.num_bytes - 4 * enum.meta["num_params"] < 10_000


# Requests that make no sense -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({}, "no layers"),
        ({"conv5_5": 1.0}, "conv5_5"),
        ({"pool5": 1.0}, "pool5"),
        ({"conv5_4": 0.0}, "conv5_4"),
        ({"conv5_4": math.nan}, "conv5_4"),
        ({"conv5_4": True}, "conv5_4"),
        ({"conv5_4": "1"}, "conv5_4"),
    ],
)
def test_wrong_layers_are_named(layers: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        PerceptualLoss(layers, weights="random")


def test_near_names_are_offered_and_criteria_listed() -> None:
    with pytest.raises(SettingsError, match="no layer 'conv54'") as caught:
        PerceptualLoss({"conv54": 1.0}, weights="random")
    assert "'conv5_4'" in str(caught.value.hint)
    with pytest.raises(SettingsError, match=r"'l7'.*l1, mse"):
        PerceptualLoss({"conv1_1": 1.0}, "l7", "random")


def test_pictures_that_do_not_fit_are_refused(vgg_file: Path) -> None:
    output, target = pictures()
    loss = PerceptualLoss(SHALLOW, weights=vgg_file, check_range=True)
    assert loss(output + 0.3, target).isfinite(), "an output may leave the range, and learns not to"
    for wrong in (target * 255, target * 2 - 1, target * math.nan):
        with pytest.raises(ValueError, match=r"RGB 0\.\.1"):
            loss(output, wrong)
    with pytest.raises(ValueError, match="one shape"):
        loss(output, target[:1])
    with pytest.raises(ValueError, match="one shape"):
        loss(output[:, :1], target[:, :1])
    with pytest.raises(ValueError, match="too small"):
        loss(output[..., :1], target[..., :1])
