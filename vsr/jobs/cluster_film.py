"""One film on a cluster: its segments are dealt out as tasks, and recorded as they come back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vsr.errors
from vsr.errors import DeviceError, Interrupted, ProcessingError, VsrError
from vsr.jobs.failure import Failure, RemoteFailure
from vsr.jobs.remote import Delivery, PassingFailure, RemoteFilm, identify, make_cells, put_in_place
from vsr.jobs.share import Share
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.model.upscaler import Upscaler
    from vsr.pipeline.cells import Cells
    from vsr.pipeline.plan import FilmPlan
    from vsr.pipeline.segments import Orders
    from vsr.pipeline.work_folder import WorkFolder

__all__ = ["ClusterFilm"]

# How often a task is repeated: after the death of its worker or machine, or a failure that may pass.
MAX_RETRIES = 3
# Tasks that wait beside those under way, for each of these: nobody is idle while results are fetched.
TASKS_PER_SLOT = 2
# Cells in a task. A GPU is through with one in a moment, and entering a film in its midst takes another.
NUM_CELLS = {"cpu": 1, "cuda": 4}
LOOK_SECONDS = 0.2  # between looks at `cancel` and `pause`

# What may differ between this machine and those that make the segments.
_OF_THE_MAKERS = ("device", "engine", "precision", "decoder")


class ClusterFilm:
    """One film's makers, see `vsr.pipeline.run.Makers`.

    Attributes:
        identity: what its segments depend on, on those machines.
    """

    def __init__(
        self,
        ray: Any,
        find_share: Callable[[str], Share],
        plan: FilmPlan,
        upscaler: Upscaler,
        settings: Settings,
        orders: Orders,
    ) -> None:
        from vsr.pipeline.fingerprint import describe_work, find_difference

        self._ray, self._find_share = ray, find_share
        self._plan, self._device, self._orders = plan, settings.device, orders
        share = find_share(self._device)
        self._film = RemoteFilm(plan.info.path.absolute(), plan.output.path.absolute(), settings, share.num_cpus)
        self._num_cells = NUM_CELLS[share.device]
        options = _task_options(share)
        self._make_cells = ray.remote(max_calls=0)(make_cells).options(**options)
        self.identity = self._identify(ray.remote(max_calls=0)(identify).options(**options))
        here = {name: value for name, value in describe_work(plan, upscaler).items() if name not in _OF_THE_MAKERS}
        difference = find_difference(self.identity, here)
        if difference is not None:
            raise DeviceError(
                f"the cluster would make another film than this machine has planned: {difference}",
                hint="install the same versions everywhere; where encoders differ, name one: --encoder software",
            )

    def _identify(self, task_of_film: Any) -> dict[str, str]:
        """Ask a machine what it makes of the film; it may have others to finish first."""
        task, orders = task_of_film.remote(self._film), self._orders
        while not self._ray.wait([task], timeout=LOOK_SECONDS)[0]:
            if orders.cancel.is_set() or orders.pause.is_set():
                self._ray.cancel(task)
                raise Interrupted
        identity: dict[str, str] = self._fetch(task)
        return identity

    def make_segments(self, work: WorkFolder) -> None:
        """Make all that is missing, and record it as it comes.

        Raises:
            Interrupted: the order to cancel, or to pause.
            VsrError: a task failed, also when it was repeated.
        """
        from vsr.pipeline.cells import deal_out, find_misfits
        from vsr.pipeline.journal import is_misfit

        gaps = work.gaps()
        if not gaps:
            return
        todo = deal_out(self._plan, gaps, self._num_cells)
        self._make(todo, work)
        self._make(find_misfits(todo, work.entries), work)
        # Read from the film's beginning they are right, and what still differs is what FFmpeg's threads make of damaged
        # pictures, which depends on which of them is faster.
        for one, later in pairwise(work.entries):
            if is_misfit(one, later) and one.span.after is not None:
                work.record(replace(later, span=replace(later.span, first=one.span.after)))

    def _make(self, todo: Sequence[Cells], work: WorkFolder) -> None:
        ray, orders = self._ray, self._orders
        folder, waiting, pending = work.path.absolute(), deque(todo), list[Any]()
        token = _read_token(folder)
        try:
            while waiting or pending:
                while waiting and not orders.pause.is_set() and len(pending) < TASKS_PER_SLOT * self._count_slots():
                    cells = waiting.popleft()
                    pending.append(
                        self._make_cells.remote(self._film, cells, self.identity, work.num_threads, folder, token)
                    )
                if not pending:
                    raise Interrupted  # paused
                ready, pending = ray.wait(pending, timeout=LOOK_SECONDS)
                if orders.cancel.is_set():
                    raise Interrupted
                for task in ready:
                    for delivery in self._fetch(task):
                        self._accept(delivery, work, f"{len(waiting) + len(pending)} tasks to go")
        finally:
            for task in pending:
                ray.cancel(task)

    def _count_slots(self) -> int:
        """How many tasks there is room for now: machines come and go."""
        try:
            return self._find_share(self._device).num_slots
        except DeviceError:  # none is there: the tasks wait until one is
            return 1

    def _accept(self, delivery: Delivery, work: WorkFolder, note: str) -> None:
        from vsr.video.faults import writing

        path = work.path / delivery.entry.file.path.name
        if delivery.data is not None:
            with writing(self._plan.output.path):
                put_in_place(delivery.data, path)
        entry = replace(delivery.entry, file=replace(delivery.entry.file, path=path))
        if not entry.file.is_intact():
            raise ProcessingError(f"{str(path)!r} came damaged from the cluster", hint="the same command makes it anew")
        work.record(entry)
        self._orders.progress.advance(entry.file.num_frames, note)

    def _fetch(self, task: Any) -> Any:
        """The result of a task.

        Raises:
            VsrError: what it failed with.
        """
        from ray.exceptions import RayError, RayTaskError

        try:
            return self._ray.get(task)
        except RayTaskError as exc:
            if isinstance(exc.cause, RemoteFailure):
                raise _as_error(exc.cause.failure) from exc.cause
            raise ProcessingError(
                f"a machine of the cluster failed: {exc.cause!r}",
                hint="is vsr installed in the environment that Ray runs in there?",
            ) from exc
        except RayError as exc:
            died = Failure("WorkerDied", f"the cluster lost a task {MAX_RETRIES + 1} times: {exc}", may_pass=True)
            raise _as_error(died) from RemoteFailure(died)


def _read_token(folder: Path) -> bytes:
    """By which other machines know the work folder: what describes the film in it, and when it was begun."""
    from vsr.pipeline.work_folder import DESCRIPTION

    return (folder / DESCRIPTION).read_bytes()


def _task_options(share: Share) -> dict[str, Any]:
    options = {
        "num_cpus": share.num_cpus, "num_gpus": share.num_gpus,
        "max_retries": MAX_RETRIES, "retry_exceptions": [PassingFailure],
    }  # fmt: skip
    if share.num_gpus:
        # The process is kept for tasks on any of the machine's GPUs; it could not change what it sees of them.
        options["runtime_env"] = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}}
    return options


def _as_error(failure: Failure) -> VsrError:
    kind = getattr(vsr.errors, failure.kind, None)
    if isinstance(kind, type) and issubclass(kind, VsrError):
        return kind(failure.message, hint=failure.hint)
    return ProcessingError(failure.message, hint=failure.hint)
