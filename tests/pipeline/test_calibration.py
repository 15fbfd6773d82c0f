"""Which pictures of a film int8 is fitted to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch

import films
import vsr
from vsr.errors import Interrupted
from vsr.pipeline.calibration import NUM_SAMPLES, calibrate_on_film, sample_film
from vsr.pipeline.plan import plan_film
from vsr.settings import Settings
from vsr.video.reader import Reader

MakeFilm = Callable[..., films.Film]


def sample(film: films.Film, **options: object) -> list[torch.Tensor]:
    settings = Settings(model="realtime", device="cpu", overwrite=True, **options)
    upscaler = vsr.make_upscaler(settings)
    return sample_film(plan_film(film.path, None, settings, upscaler), upscaler)


@pytest.mark.parametrize("duration", [None, Fraction(1, 2), Fraction(60)])
def test_pictures_come_from_all_over_the_part_to_be_done(make_film: MakeFilm, duration: Fraction | None) -> None:
    samples = sample(make_film(films.plain, times=48), duration=duration)
    assert len(samples) == NUM_SAMPLES
    assert all(one.shape == (1, 3, 48, 64) for one in samples)
    assert all(not torch.equal(one, other) for one, other in pairwise(samples))


def test_a_film_that_cannot_be_entered_is_read_once(make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(films.avi, "film.avi", times=60)
    opened = []
    pictures = Reader.pictures
    monkeypatch.setattr(Reader, "pictures", lambda self: opened.append(self) or pictures(self))
    assert len(sample(film)) == NUM_SAMPLES
    assert len(opened) == 1


def test_a_film_of_one_frame_is_enough(make_film: MakeFilm) -> None:
    assert 1 <= len(sample(make_film(films.plain, times=1))) <= NUM_SAMPLES


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_it_can_be_interrupted(film: films.Film) -> None:
    settings = Settings(model="realtime", precision="int8", device="cpu", overwrite=True)
    upscaler = vsr.make_upscaler(settings)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        calibrate_on_film(plan_film(film.path, None, settings, upscaler), upscaler, cancel)
