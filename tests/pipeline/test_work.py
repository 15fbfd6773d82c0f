"""A guard over speed that counts instead of timing: what one frame costs once a film is running.

The limits are what it costs now. Who needs more has to say why here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import films
import vsr
from counting import WorkCounter
from vsr.model.fused import can_fuse
from vsr.pipeline.compute import Tally, compute
from vsr.pipeline.plan import plan_film
from vsr.settings import Settings
from vsr.video.reader import Reader

WIDTH, HEIGHT = 64, 48


def count_work(film: films.Film, **options: object) -> WorkCounter:
    """What the compute stage does for the fourth frame of a film."""
    settings = Settings(device="cpu", overwrite=True, **options)
    upscaler = vsr.make_upscaler(settings)
    plan = plan_film(film.path, None, settings, upscaler)
    tally = Tally()
    pictures = Reader(plan.info).pictures()
    for _ in range(3):
        compute([next(pictures)], upscaler=upscaler, plan=plan, tally=tally)
    picture = next(pictures)
    with WorkCounter() as work:
        compute([picture], upscaler=upscaler, plan=plan, tally=tally)
    pictures.close()
    return work


def convolve(inputs: int, outputs: int) -> int:
    """FLOP of a 3x3 convolution over the picture."""
    return 2 * 9 * inputs * outputs * WIDTH * HEIGHT


@pytest.mark.parametrize(("precision", "parts"), [("bf16", 2), ("fp32", 1)])
def test_flops_of_a_frame_are_those_of_the_network(film: films.Film, precision: str, parts: int) -> None:
    """Six convolutions, the last one to 32 values, and the small matrix that adds the base picture; nothing twice."""
    work = count_work(film, model="realtime", precision=precision)
    network = convolve(3 * parts, 32) + 4 * convolve(32, 32) + convolve(32, 32)
    assert work.flops == network + 2 * 7 * 32 * WIDTH * HEIGHT


def test_bytes_copied_and_tensors_made_for_a_frame(film: films.Film) -> None:
    if not can_fuse(torch.bfloat16):
        pytest.skip("without oneDNN the layers stay apart, and make a tensor more each")
    work = count_work(film, model="realtime", precision="bf16")
    # For each pixel of the source: 128 bytes of values to float32, 24 of codes to their places, 12 of RGB to
    # channels-last and 24 of it for the base, 18 of its two halves, 14 from codes to RGB; and the chroma's edges.
    assert work.bytes_copied <= 222 * WIDTH * HEIGHT
    assert work.num_allocated <= 22


def test_a_larger_frame_makes_no_more_tensors(make_film: Callable[..., films.Film]) -> None:
    """Bands reuse their memory: four times the pixels, the same number of tensors."""
    counts = []
    for number, size in enumerate(((64, 48), (128, 96))):
        film = make_film(films.plain, f"film{number}.mp4", size=size)
        counts.append(count_work(film, model="realtime", precision="fp32"))
    assert counts[1].flops == 4 * counts[0].flops
    assert counts[1].num_allocated == counts[0].num_allocated


@pytest.mark.skipif(not can_fuse(torch.float32), reason="this torch has no oneDNN to fuse with")
def test_what_is_counted_is_the_way_that_films_take(film: films.Film) -> None:
    """The guard is worth nothing if films went by another way."""
    work = count_work(film, model="realtime", precision="fp32")
    assert work.calls["mm"] == 1, "the base picture is added by one small product for each band"
    assert work.calls["_convolution_pointwise"] == 6
