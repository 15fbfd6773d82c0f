"""Decoder and encoder of a plan: what was asked for, on the GPU that computes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import films
from vsr.errors import DeviceError
from vsr.model.upscaler import Upscaler
from vsr.pipeline import plan as plans
from vsr.pipeline.plan import plan_film
from vsr.settings import Settings
from vsr.video.decoder_choice import DecoderChoice


@pytest.fixture
def upscaler(tiny_weights: Path) -> Upscaler:
    from vsr.model.loading import load_model

    return Upscaler(load_model(str(tiny_weights)), device="cpu")


@pytest.mark.parametrize(
    ("device", "asked", "gpu"),
    [("cpu", "auto", None), ("cuda:1", "auto", 1), ("cuda", "cuda", 0), ("cuda:0", "cuda:0,cuda:1", None)],
)
def test_the_one_gpu_that_computes_is_asked(
    device: str, asked: str, gpu: int | None, film: films.Film, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoder and encoder are asked on that GPU; none where the CPU computes, or several GPUs share the work."""
    told: dict[str, Any] = {}

    def choose_decoder(info: object, wanted: str, device: int | None) -> DecoderChoice:
        told["decoder"] = (wanted, device)
        return DecoderChoice("software", notes=("a word about the decoder",))

    def choose_encoding(*arguments: Any, encoder: str, device: int | None, on_device: bool) -> Any:
        told["encoder"] = (encoder, device, on_device)
        return truly(*arguments)

    truly = plans.choose_encoding
    monkeypatch.setattr(plans, "choose_decoder", choose_decoder)
    monkeypatch.setattr(plans, "choose_encoding", choose_encoding)
    stand_in: Any = SimpleNamespace(
        device=torch.device(device), output_size=upscaler.output_size, scale=upscaler.scale, network=upscaler.network
    )
    settings = Settings(device=asked, decoder="nvdec", encoder="nvenc")
    plan = plan_film(film.path, None, settings, stand_in)
    assert told == {"decoder": ("nvdec", gpu), "encoder": ("nvenc", gpu, gpu is not None)}
    assert plan.decoder.name == "software"
    assert plan.notes == ("a word about the decoder",)


@pytest.mark.parametrize("asked", [{"decoder": "nvdec"}, {"encoder": "nvenc", "codec": "hevc"}])
@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_what_is_not_here_is_refused_before_the_work(
    asked: dict[str, str], film: films.Film, upscaler: Upscaler
) -> None:
    with pytest.raises(DeviceError) as caught:
        plan_film(film.path, None, Settings(**asked), upscaler)
    assert caught.value.hint
