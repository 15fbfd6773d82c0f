"""Where patches are cut, and that a low-resolution patch and its twin show the same."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vsr.errors import DataError, TrainingError
from vsr.model.vision import import_torchvision
from vsr.training.augmentation import NUM_TURNS, copy_turned, jitter_colors, turn
from vsr.training.decoding import to_float
from vsr.training.patches import Chunks, choose_sheet, plan_chunk
from vsr.training.pictures import make_low


@dataclass
class Drawn:
    """Pictures made up on the spot."""

    scale: int
    highs: list[np.ndarray]
    kernel: str = "matlab"

    def __len__(self) -> int:
        return len(self.highs)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [high.shape[1:] for high in self.highs]

    @property
    def is_deep(self) -> bool:
        return any(high.dtype == np.uint16 for high in self.highs)

    def high(self, index: int) -> np.ndarray:
        return self.highs[index]

    def low(self, index: int) -> np.ndarray:
        return make_low(self.highs[index], self.scale, self.kernel)


@dataclass
class Subsample:
    """A degradation that takes every `scale`-th pixel: alignment can be checked to the sample."""

    regions: list[tuple[int, int]] = field(default_factory=list)

    def prepare(self, high_HWC: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
        return high_HWC

    def __call__(self, high_HWC: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
        self.regions.append(high_HWC.shape[:2])
        return high_HWC[::scale, ::scale]


def draw(height: int, width: int, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (3, height, width), dtype)


def chunks_of(source: Drawn, **changes: object) -> Chunks:
    settings = {"patch": 8, "batch": 4, "rows": range(4), "degrade": None, "patches_per_sheet": 3, "seed": 1}
    return Chunks(source, **{**settings, **changes})


sizes_of_pictures = st.lists(st.tuples(st.integers(5, 60), st.integers(5, 60)), min_size=1, max_size=6)


@given(sizes_of_pictures, st.integers(1, 5), st.integers(1, 7), st.integers(1, 5), st.none() | st.integers(1, 70),
       st.integers(0, 2**40), st.integers(0, 2**40))  # fmt: skip
def test_patches_lie_inside_their_sheets_and_those_in_their_pictures(sizes, patch, batch, depth, sheet, seed, chunk):
    arguments = {"patch": patch, "batch": batch, "patches_per_sheet": depth, "sheet": sheet, "seed": seed}
    sizes = np.array(sizes)
    plan = plan_chunk(sizes, chunk=chunk, **arguments)
    assert plan.picture.shape == (batch,)
    assert plan.corner.shape == (depth, batch, 2)
    place, region = plan.sheet[:, :2], plan.sheet[:, 2:]
    assert (place >= 0).all()
    assert (place + region <= sizes[plan.picture]).all()
    assert (region <= (max(sheet, patch) if sheet else 60)).all()
    if sheet is None:
        assert (region == sizes[plan.picture]).all()
    assert (plan.corner >= 0).all()
    assert (plan.corner + patch <= region).all()
    assert ((plan.turns >= 0) & (plan.turns < NUM_TURNS)).all()
    again = plan_chunk(sizes, chunk=chunk, **arguments)
    assert all(np.array_equal(getattr(plan, name), getattr(again, name)) for name in plan.__slots__)


def test_another_seed_or_chunk_is_another_plan():
    def corners(seed: int, chunk: int) -> bytes:
        arguments = {"patch": 8, "batch": 16, "patches_per_sheet": 2, "sheet": None}
        return plan_chunk(np.array([[500, 500]]), seed=seed, chunk=chunk, **arguments).corner.tobytes()

    assert len({corners(seed, chunk) for seed in range(4) for chunk in range(4)}) == 16


def test_every_place_is_reached_alike():
    """3x3 places for a patch in a 10x10 picture, 9000 draws: each gets 1000, give or take five deviations."""
    counts = np.zeros((3, 3), int)
    for chunk in range(30):
        plan = plan_chunk(
            np.array([[10, 10]]), patch=8, batch=20, patches_per_sheet=15, sheet=None, seed=0, chunk=chunk
        )
        np.add.at(counts, tuple(plan.corner.reshape(-1, 2).T), 1)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_pictures_are_drawn_by_area():
    sizes = np.array([[10, 10], [10, 30], [30, 20]])
    arguments = {"patch": 8, "batch": 10, "patches_per_sheet": 1, "sheet": None, "seed": 0}
    drawn = np.concatenate([plan_chunk(sizes, chunk=chunk, **arguments).picture for chunk in range(300)])
    assert np.bincount(drawn) / len(drawn) == pytest.approx([0.1, 0.3, 0.6], abs=0.001)


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_sheet_holds_its_patches(patch, depth):
    side = choose_sheet(patch, depth)
    assert side >= patch
    assert side**2 * 2 >= patch**2 * depth


# --- low and high belong together ---


@given(st.integers(1, 4), st.integers(6, 9), st.integers(0, 1000), st.booleans(), st.sampled_from(["matlab", "pillow"]),
       st.sampled_from([np.uint8, np.uint16]))  # fmt: skip
def test_low_patch_is_the_shrunk_high_patch_inside(scale, patch, seed, augment, kernel, dtype):
    """Away from the edges, which a filter of reach 2 sees, cutting and shrinking are the same in either order."""
    rng = np.random.default_rng(seed)
    sides = rng.integers(patch, patch + 12, (2, 2)) * scale
    source = Drawn(scale, [draw(*side, seed + at, dtype) for at, side in enumerate(sides)], kernel)
    chunk = chunks_of(source, patch=patch, seed=seed, augment=augment)[seed]
    assert chunk.low.shape == (3, 4, 3, patch, patch)
    assert chunk.high.shape == (3, 4, 3, patch * scale, patch * scale)
    for low, high in zip(
        chunk.low.reshape(12, 3, patch, patch), chunk.high.reshape(12, 3, *[patch * scale] * 2), strict=True
    ):
        shrunk = make_low(np.ascontiguousarray(high), scale, kernel)
        inner = np.s_[:, 2:-2, 2:-2]
        # One code for ties that rounding decides either way.
        assert np.abs(low[inner].astype(int) - shrunk[inner].astype(int)).max() <= 1


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_degraded_patches_are_aligned(scale, patch, depth, seed):
    rng = np.random.default_rng(seed)
    source = Drawn(scale, [draw(*(rng.integers(patch, patch + 30, 2) * scale), seed + at) for at in range(3)])
    degrade = Subsample()
    chunk = chunks_of(source, patch=patch, patches_per_sheet=depth, seed=seed, degrade=degrade, augment=False)[0]
    assert np.array_equal(chunk.low, chunk.high[..., ::scale, ::scale])
    assert len(degrade.regions) == 4, "each sheet is degraded once"
    side = choose_sheet(patch, depth) * scale
    assert all(height <= side and width <= side for height, width in degrade.regions)


def test_patches_stand_in_their_picture():
    """Without augmentation a patch is found in the picture where the plan says."""
    source = Drawn(2, [draw(60, 80)])
    plan = plan_chunk(np.array([[30, 40]]), patch=8, batch=4, patches_per_sheet=3, sheet=None, seed=1, chunk=7)
    chunk = chunks_of(source, augment=False)[7]
    for at, row in np.ndindex(3, 4):
        top, left = plan.corner[at, row] * 2
        assert np.array_equal(chunk.high[at, row], source.highs[0][:, top : top + 16, left : left + 16])


def test_rows_can_be_made_apart():
    source = Drawn(2, [draw(60, 80), draw(40, 40, 1)])
    whole, upper, lower = (chunks_of(source, rows=rows)[5] for rows in (range(4), range(1), range(1, 4)))
    assert np.array_equal(whole.low, np.concatenate((upper.low, lower.low), axis=1))
    assert np.array_equal(whole.high, np.concatenate((upper.high, lower.high), axis=1))


def test_mixed_depths_become_sixteen_bits():
    source = Drawn(2, [draw(20, 20), draw(20, 20, 1, np.uint16)])
    for degrade in (None, Subsample()):
        chunk = chunks_of(source, degrade=degrade, batch=8, rows=range(8))[0]
        assert chunk.low.dtype == chunk.high.dtype == np.uint16
        is_spread = [bool((chunk.high[:, row] % 257 == 0).all()) for row in range(8)]
        assert sorted(set(is_spread)) == [False, True]


def test_targets_may_be_prepared():
    class Inverts(Subsample):
        def prepare(self, high_HWC, scale, rng):
            return 255 - high_HWC

    source = Drawn(2, [draw(20, 20)])
    plain, inverted = (chunks_of(source, degrade=degrade)[0] for degrade in (Subsample(), Inverts()))
    assert np.array_equal(inverted.high, 255 - plain.high)
    assert np.array_equal(inverted.low, 255 - plain.low)


def test_a_failing_degradation_is_explained():
    class Fails(Subsample):
        def __call__(self, high_HWC, scale, rng):
            raise ValueError("no kernel")

    with pytest.raises(TrainingError, match=r"degradation of a .* region failed .*no kernel"):
        chunks_of(Drawn(2, [draw(20, 20)]), degrade=Fails())[0]


def test_small_pictures_are_refused():
    with pytest.raises(DataError, match="16x16"):
        chunks_of(Drawn(2, [draw(20, 20), draw(14, 20)]))


# --- augmentation ---


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("side", [7, 16])
def test_turned_copies_are_turned_views(side: int, dtype: type):
    samples = draw(side + 5, side + 3, dtype=dtype)[:, 2 : side + 2, 1 : side + 1]
    for code in range(NUM_TURNS):
        out = np.zeros((3, side, side), dtype)
        copy_turned(samples, code, out)
        assert np.array_equal(out, turn(samples, code))


def test_turns_are_torchvisions():
    """The eight views are what torchvision's flips and its rotation by 90 degrees make."""
    import_torchvision()
    from torchvision.transforms.v2 import functional

    samples = draw(6, 6)
    picture = torch.from_numpy(samples)
    mirrored, flipped = functional.horizontal_flip(picture), functional.vertical_flip(picture)
    wanted = {0: picture, 1: mirrored, 2: flipped, 3: functional.vertical_flip(mirrored)}
    # Reversing columns and then swapping them with the rows is a quarter turn counter-clockwise.
    wanted |= {5: functional.rotate(picture, 90), 6: functional.rotate(picture, -90)}
    wanted |= {4: functional.vertical_flip(wanted[5]), 7: functional.vertical_flip(wanted[6])}
    for code, expected in wanted.items():
        assert np.array_equal(turn(samples, code), expected.numpy()), code
    assert len({turn(samples, code).tobytes() for code in range(NUM_TURNS)}) == NUM_TURNS


def test_jitter_changes_both_alike_and_draws_from_its_own_generator():
    colour = np.array([200, 90, 40], np.uint8)[:, None, None]
    low, high = (np.broadcast_to(colour, (3, side, side)).copy() for side in (4, 16))
    state = torch.get_rng_state()
    made = [jitter_colors(low, high, 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    for low_changed, high_changed in made:
        assert (low_changed == low_changed[:, :1, :1]).all()
        assert np.array_equal(low_changed[:, :1, :1], high_changed[:, :1, :1])
    assert np.array_equal(made[0][1], made[1][1])
    assert not np.array_equal(made[0][1], made[2][1])
    assert not np.array_equal(made[0][1], high)
    deep = (draw(4, 4, dtype=np.uint16), draw(8, 8, dtype=np.uint16))
    same = jitter_colors(*deep, 0.0, np.random.default_rng(0))
    assert all(
        np.allclose(to_float(before), to_float(after), atol=1e-4) for before, after in zip(deep, same, strict=True)
    )


def test_jitter_of_a_chunk_is_by_row():
    source = Drawn(2, [draw(40, 40)])
    plain, changed, again = (chunks_of(source, jitter=strength)[0] for strength in (0.0, 0.2, 0.2))
    assert np.array_equal(changed.high, again.high)
    assert not np.array_equal(changed.high, plain.high)
    apart = chunks_of(source, jitter=0.2, rows=range(2, 4))[0]
    assert np.array_equal(changed.low[:, 2:], apart.low)
