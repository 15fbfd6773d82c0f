"""A training from its first to its last step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vsr.errors import Interrupted
from vsr.model.memory import keep_freed_memory
from vsr.model.precision import choose_precision
from vsr.model.speed import measure_matrix_rate
from vsr.progress import Progress, SilentProgress
from vsr.training.distributed import join_ranks
from vsr.training.pictures import open_pictures
from vsr.training.recipe import Recipe
from vsr.training.run_folder import RunFolder
from vsr.training.speed import Stopwatch, flushed_denormals
from vsr.training.stopping import StopRequest
from vsr.training.training import STOPPED, Training

__all__ = ["Summary", "train"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a training did.

    Attributes:
        output: the exported weights.
        steps: optimizer steps so far, over all resumes.
        skipped: steps of this process whose losses or gradients were not finite.
        seconds: wall clock, over all resumes.
        images_per_second: patches per second while stepping (validation and saving left out).
        data_wait: share of that time spent waiting for data.
        matrix_share: arithmetic of the generator (forward, and twice that back) over what the machine does in a plain
            matrix product of the same precision.
        losses: of the last line in losses.jsonl.
        scores: of the last validation: set -> metric -> value.
        stopped: why it ended before the last step; "" if it did not.
    """

    output: str
    steps: int
    skipped: int
    seconds: float
    images_per_second: float
    data_wait: float
    matrix_share: float
    losses: Mapping[str, float]
    scores: Mapping[str, Mapping[str, float]]
    stopped: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)


def train(
    recipe: Recipe,
    data: Sequence[Path],
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Summary | None:
    """Train as `recipe` says; what comes out is in the folder `out`: weights, checkpoints, losses, scores.

    Args:
        data: folders of pictures and films.
        resume: go on from the newest checkpoint in `out`; from the beginning where there is none.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        say: hears, in single lines, what happens on the way.

    Returns:
        What was done; None in all but the first of several processes.

    Raises:
        SettingsError, DataError, DeviceError: the training cannot be as asked for.
        TrainingError: `out` holds another run, the recipe or the data is not that of the run to resume, or losses stay
            without finite values.
        Interrupted: SIGINT or SIGTERM came; a checkpoint was written.
    """
    keep_freed_memory()
    run, network = recipe.run, recipe.network
    with flushed_denormals(), join_ranks(device) as ranks:
        if not ranks.is_first:
            progress, say = None, None
        progress, say = progress or SilentProgress(), say or _say_nothing
        choose_precision(run.precision, ranks.device)
        if run.precision == "bf16" and choose_precision("auto", ranks.device) == "fp32":
            say("this processor does not compute in bf16, it imitates it: --set run.precision=fp32 is faster")
        folder = RunFolder(out, recipe)
        folder.check_vacant(resume=resume)
        pictures = open_pictures(data, scale=network.scale, patch=recipe.data.patch, progress=progress)
        for line in pictures.report.lines():
            say(line)
        if resume:
            folder.check_facts(pictures.fingerprint)
        ranks.wait()

        training = Training(recipe, ranks, pictures, folder, say, resume=resume, progress=progress)
        first_step = training.step
        matrix_rate = measure_matrix_rate(ranks.device, run.precision)
        with training.open(data), training.make_loader(progress) as loader, StopRequest() as stop:
            progress.start(folder.weights.stem, run.steps - first_step, "steps")
            batches, watch, reason = iter(loader), Stopwatch(), ""
            if training.step >= run.steps:
                training.validate()  # there is nothing to learn any more, but there may be other sets or another name
            while training.step < run.steps and not reason:
                training.advance(next(batches))
                if training.is_due(run.log_every):
                    images = (training.step - first_step) * recipe.data.batch
                    training.log(images / watch.read(), loader.wait_seconds / watch.read())
                progress.advance(1, training.note)
                reason = training.reason_to_stop(stop)
                is_over = reason or training.step == run.steps
                with watch.paused():
                    if (is_over or training.is_due(run.validate_every)) and reason != STOPPED:
                        training.validate()
                    if is_over or training.is_due(run.checkpoint_every):
                        training.save()
            seconds = watch.stop()
            progress.finish()
            if reason == STOPPED:
                raise Interrupted(f"stopped at step {training.step} of {run.steps}, which is saved")
            if not ranks.is_first:
                return None
            images = (training.step - first_step) * recipe.data.batch
            arithmetic = images * training.flops_per_image / ranks.world
            return Summary(
                output=str(folder.weights),
                steps=training.step,
                skipped=training.num_skipped + training.num_unlogged_skips(),
                seconds=round(training.seconds, 1),
                images_per_second=round(images / seconds, 2),
                data_wait=round(loader.wait_seconds / seconds, 4),
                matrix_share=round(arithmetic / (seconds * matrix_rate), 4),
                losses=training.losses,
                scores=training.scores,
                stopped=reason,
            )


def _say_nothing(line: str) -> None:
    pass
