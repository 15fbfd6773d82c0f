"""A training under way: its networks and optimizers, where it stands, and how that is logged, measured and saved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vsr.errors import TrainingError
from vsr.progress import Progress
from vsr.training.averaging import Average
from vsr.training.degradation import build_degradation
from vsr.training.distributed import Ranks
from vsr.training.export import describe_origin, export_weights
from vsr.training.generators import build_generator, fold
from vsr.training.loader import Batch, PatchLoader
from vsr.training.logbook import Logbook
from vsr.training.memory_saving import save_memory
from vsr.training.pictures import Pictures
from vsr.training.pretrained import load_pretrained
from vsr.training.recipe import Recipe
from vsr.training.run_folder import RunFolder
from vsr.training.stages import build_stage
from vsr.training.stopping import StopRequest
from vsr.training.validation import ValidationSet, find_sets, mean_psnr, measure

__all__ = ["STOPPED", "Training"]

STOPPED = "a signal"  # a reason to stop after which the user waits: nothing is measured any more
_AGREE_EVERY = 10  # steps between two questions whether any of several processes was asked to stop


class Training:
    """Everything that changes from step to step.

    Args:
        pictures: to learn from.
        folder: where results go; only the first of several processes writes there.
        say: hears single lines for the user.
        resume: go back to the newest checkpoint of the folder; where there is none, stay at the beginning.
        progress: hears about downloads.

    Attributes:
        step: optimizer steps done.
        losses: means of the last line written; `scores`: of the last validation.
        num_skipped: steps of this process whose losses or gradients were not finite.

    Raises:
        SettingsError: parts of the recipe do not fit together.
        TrainingError: weights to begin with, VGG19, or a checkpoint of this recipe and data to go on from is not there.
    """

    def __init__(
        self,
        recipe: Recipe,
        ranks: Ranks,
        pictures: Pictures,
        folder: RunFolder,
        say: Callable[[str], None],
        *,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.recipe, self._ranks, self._pictures, self._folder, self._say = recipe, ranks, pictures, folder, say
        self._device = ranks.device
        saved = self._load_newest() if resume else None
        torch.manual_seed(recipe.run.seed)
        generator = build_generator(recipe.network)
        if recipe.run.pretrained and saved is None:  # a run that goes on needs that file no more
            load_pretrained(generator, recipe.run.pretrained)
        self._generator = ranks.place(generator)
        self._average = Average(self._generator, recipe.optimizer.ema)
        if recipe.run.checkpointing:
            save_memory(self._generator)
        self._stage = build_stage(recipe, self._generator, ranks, progress)
        for note in self._stage.notes:
            say(note)
        self.step, self.num_skipped = 0, 0
        self.losses: dict[str, float] = {}
        self.scores: dict[str, dict[str, float]] = {}
        self._best = float("-inf")
        self._bad_in_row = 0
        self._rows: list[torch.Tensor] = []  # losses of the steps since the last line, on the device
        self._earlier, self._started = 0.0, time.monotonic()
        self._validated = -1
        if saved is not None:
            self._restore(saved)

    @property
    def seconds(self) -> float:
        """Wall clock, over all resumes."""
        return self._earlier + time.monotonic() - self._started

    @property
    def note(self) -> str:
        """The losses in short, for the progress bar."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.losses.items())

    @property
    def flops_per_image(self) -> float:
        """Of the generator for one patch: forward, and twice that for the way back."""
        per_pixel = float(self._average.module.flops_per_pixel)  # type: ignore[arg-type]
        return 3 * per_pixel * self.recipe.data.patch**2

    def is_due(self, every: int) -> bool:
        """Whether the step just done is a multiple of `every`; never for 0."""
        return every > 0 and self.step % every == 0

    # --- one step ---

    @contextlib.contextmanager
    def open(self, data: Sequence[Path]) -> Iterator[None]:
        """Take possession of the folder and open what is written and measured; close it at the end."""
        recipe, first = self.recipe, self._ranks.is_first
        self._sets: list[ValidationSet] = []
        self._logbook = None
        if first:
            self._sets = find_sets(
                data,
                recipe.data.validation,
                scale=recipe.network.scale,
                kernel=recipe.data.kernel,
                degrade=build_degradation(recipe.degradation),
            )
            self._folder.claim(data=self._pictures.fingerprint, num_pictures=len(self._pictures))
            self._logbook = Logbook(
                self._folder.path, start=self.step, tensorboard=recipe.run.tensorboard, say=self._say
            )
        try:
            yield
        finally:
            if self._logbook is not None:
                self._logbook.close()

    def make_loader(self, progress: Progress) -> PatchLoader:
        """Batches from the next step on: this process's share of them."""
        data, run = self.recipe.data, self.recipe.run
        return PatchLoader(
            self._pictures,
            scale=self.recipe.network.scale,
            patch=data.patch,
            batch=data.batch,
            degrade=build_degradation(self.recipe.degradation),
            kernel=data.kernel,
            patches_per_sheet=data.patches_per_sheet,
            seed=run.seed,
            workers=run.workers,
            rank=self._ranks.rank,
            world=self._ranks.world,
            start_step=self.step,
            augment=data.augment,
            jitter=data.jitter,
            device=self._device,
            progress=progress,
        )

    def advance(self, batch: Batch) -> None:
        """One step: new weights, new average. Waits for nothing on the device."""
        low_BCHW = batch.low_BCHW.contiguous(memory_format=torch.channels_last)
        self._rows.append(self._stage.step(self.step, low_BCHW, batch.high_BCHW))
        self._average.update(self.step)
        self.step += 1

    def reason_to_stop(self, stop: StopRequest) -> str:
        """Why the training ends here, the same in all processes; "" if it does not."""
        if self._ranks.world > 1 and self.step % _AGREE_EVERY:
            return ""
        if self._ranks.agree(stop.wanted):
            return STOPPED
        minutes = self.recipe.run.minutes
        if self._ranks.agree(bool(minutes) and self.seconds >= 60 * minutes):
            return f"its {minutes:g} minutes are over"
        return ""

    # --- looking at it ---

    def num_unlogged_skips(self) -> int:
        """Steps since the last line of the losses that were skipped."""
        return sum(bool(row[-1] > 0) for row in self._rows)

    def log(self, images_per_second: float, data_wait: float) -> None:
        """Write the means of the losses since the last line, and count the steps that were skipped.

        Raises:
            TrainingError: too many steps in a row were skipped.
        """
        first_step = self.step - len(self._rows)
        rows, self._rows = self._ranks.mean(torch.stack(self._rows)).double().cpu(), []
        skipped = (rows[:, -1] > 0).tolist()
        means = rows[rows[:, -1] == 0, :-1].mean(0).tolist()
        if not all(skipped):
            self.losses = dict(zip(self._stage.names[:-1], means, strict=True))
        rate = self._stage.rate(self.step - 1)
        if self._logbook is not None:
            finite = {} if all(skipped) else self.losses
            self._logbook.write(self.step, {**finite, "skipped": sum(skipped), "rate": rate})
            self._logbook.chart(self.step, {"images_per_second": images_per_second, "data_wait": data_wait})
        self._count_skipped(first_step, skipped)

    def _count_skipped(self, first_step: int, skipped: Sequence[bool]) -> None:
        most = self.recipe.run.max_bad_steps
        for step, was_skipped in enumerate(skipped, first_step + 1):
            self._bad_in_row = self._bad_in_row + 1 if was_skipped else 0
            if self._bad_in_row >= most:
                raise TrainingError(
                    f"{most} steps in a row up to step {step} had no finite loss or gradient",
                    hint="lower optimizer.learning_rate, set optimizer.clip (e.g. 1), or run.precision to fp32;"
                    " then begin anew, from an earlier checkpoint with run.pretrained",
                )
        if sum(skipped):
            self.num_skipped += sum(skipped)
            self._say(
                f"{sum(skipped)} of the steps {first_step + 1} to {self.step} had no finite loss or gradient and"
                f" changed nothing; {self.num_skipped} so far"
            )

    def validate(self) -> None:
        """Measure the averaged weights, export them with what was measured."""
        if self._validated == self.step:
            return
        self._validated = self.step
        if self._logbook is not None:
            logbook, step = self._logbook, self.step
            shipping = fold(self._average.module)
            self.scores = measure(
                shipping, self._sets, device=self._device, show=lambda name, picture: logbook.show(step, name, picture)
            )
            logbook.write_scores(step, self.scores, self.seconds)
            self._say(self._describe())
            header = describe_origin(
                self.recipe,
                shipping,
                data=self._pictures.fingerprint,
                num_pictures=len(self._pictures),
                step=step,
                seconds=self.seconds,
                scores=self.scores,
            )
            export_weights(self._folder.weights, shipping, header, dtype=self.recipe.run.export_dtype)
        self._ranks.wait()

    def _describe(self) -> str:
        scores = [f"{name} {s['psnr_y']:.2f} dB / {s['ssim_y']:.4f}" for name, s in self.scores.items()]
        return "; ".join([f"step {self.step}, {self.seconds / 60:.1f} min: {self.note or 'no losses yet'}", *scores])

    # --- saving and restoring ---

    def save(self) -> None:
        """A checkpoint of this step, the best so far if the last validation says so."""
        if not self._ranks.is_first:
            return
        mean = mean_psnr(self.scores) if self._validated == self.step else float("-inf")
        is_best, self._best = mean > self._best, max(mean, self._best)
        self._folder.checkpoints.save(self.step, self.state_dict(), is_best=is_best)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, and what has been counted; tensors and plain values."""
        return {
            "recipe": self.recipe.as_dict(),
            "data": self._pictures.fingerprint,
            "generator": self._generator.state_dict(),
            "average": self._average.state_dict(),
            "stage": self._stage.state_dict(),
            # The data draws from (seed, step), not from these.
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
            "rows": [row.cpu() for row in self._rows],
            "seconds": self.seconds,
            "best": self._best,
            "bad_in_row": self._bad_in_row,
            "num_skipped": self.num_skipped,
            "losses": self.losses,
            "scores": self.scores,
        }

    def _load_newest(self) -> dict[str, Any] | None:
        state = self._folder.checkpoints.load_newest(self._say)
        if state is None:
            self._say("there is no checkpoint to go on from: beginning at step 0")
        else:
            self._folder.check_same(state["recipe"], state["data"], self._pictures.fingerprint)
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._generator.load_state_dict(state["generator"])
        self._average.load_state_dict(state["average"])
        self._stage.load_state_dict(state["stage"])
        torch.set_rng_state(state["random"])
        if self._device.type == "cuda" and state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"][: torch.cuda.device_count()])
        self._rows = [row.to(self._device) for row in state["rows"]]
        self.step, self._earlier = int(state["step"]), float(state["seconds"])
        self._best, self._bad_in_row, self.num_skipped = state["best"], state["bad_in_row"], state["num_skipped"]
        self.losses, self.scores = state["losses"], state["scores"]
        self._say(f"going on from step {self.step}")
