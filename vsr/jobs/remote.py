"""What the machines of a cluster do: segments of films, each task a run of neighbouring cells of a film's grid.

A process keeps the network and the film's plan from task to task. Segments go into the film's work folder where this
machine sees it, and travel as bytes otherwise.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import DeviceError, SourceError
from vsr.jobs.failure import RemoteFailure, judge
from vsr.jobs.kept_upscaler import KeptUpscaler
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.model.upscaler import Upscaler
    from vsr.pipeline.cells import Cells
    from vsr.pipeline.journal import Entry
    from vsr.pipeline.plan import FilmPlan

__all__ = ["Delivery", "PassingFailure", "RemoteFilm", "identify", "make_cells", "put_in_place"]


class PassingFailure(RemoteFailure):
    """One that may not happen again, or not elsewhere: Ray repeats such a task."""


@dataclass(frozen=True, slots=True)
class RemoteFilm:
    """A film as all tasks know it.

    Attributes:
        source: under the same path on every machine.
        output: need not exist anywhere but on the driver's machine.
        num_threads: processor cores for a task.
    """

    source: Path
    output: Path
    settings: Settings
    num_threads: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A segment that is finished.

    Attributes:
        data: the file; None where it lies in the work folder already.
    """

    entry: Entry
    data: bytes | None


def identify(film: RemoteFilm) -> dict[str, str]:
    """What the film's segments depend on here, see `vsr.pipeline.fingerprint.describe_work`.

    Raises:
        RemoteFailure: it cannot be done here.
    """
    with _telling(film):
        return _bench.prepare(film).identity


def make_cells(
    film: RemoteFilm, cells: Cells, identity: dict[str, str], num_encoder_threads: int, folder: Path, token: bytes
) -> list[Delivery]:
    """Make the segments of some cells.

    Args:
        identity: what they must depend on.
        num_encoder_threads: see `vsr.video.coders.count_threads`.
        folder: the film's work folder, if its description here says `token`.

    Raises:
        RemoteFailure: it cannot be done here.
    """
    with _telling(film), tempfile.TemporaryDirectory(prefix="vsr-") as scratch:
        entries = _bench.prepare(film, identity).make(cells, Path(scratch), num_encoder_threads)
        return [_deliver(entry, folder, token) for entry in entries]


def put_in_place(segment: Path | bytes, path: Path) -> None:
    """Give a finished segment, a file or what was in one, its place and name; safe from a power cut.

    Raises:
        OSError: the disk is full or broken.
    """
    from vsr.video.segment_file import flush_folder

    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        if isinstance(segment, bytes):
            temporary.write_bytes(segment)
        else:
            shutil.copyfile(segment, temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(path.parent)


def _deliver(entry: Entry, folder: Path, token: bytes) -> Delivery:
    path = entry.file.path
    if _sees(folder, token):
        # Where it cannot be written to (another user, a full disk) the driver may, or is the one to say so.
        with suppress(OSError):
            put_in_place(path, folder / path.name)
            return Delivery(entry, None)
    return Delivery(entry, path.read_bytes())


def _sees(folder: Path, token: bytes) -> bool:
    """Whether this machine has the driver's folder under that name, and not some other."""
    from vsr.pipeline.work_folder import DESCRIPTION

    try:
        return (folder / DESCRIPTION).read_bytes() == token
    except OSError:
        return False


@contextmanager
def _telling(film: RemoteFilm) -> Iterator[None]:
    """Whatever fails leaves as a RemoteFailure that names this machine."""
    try:
        yield
    except Exception as exc:
        failure = judge(exc, film.source, film.source)
        hint = failure.hint
        if isinstance(exc, SourceError) and not film.source.exists():
            hint = "every machine of the cluster needs the film under the same path"
        failure = replace(failure, message=f"{failure.message} (on {platform.node()})", hint=hint)
        raise (PassingFailure if failure.may_pass else RemoteFailure)(failure) from exc


class _PreparedFilm:
    """A film, ready to be worked on."""

    def __init__(self, film: RemoteFilm, settings: Settings, upscaler: Upscaler) -> None:
        from vsr.pipeline.calibration import calibrate_on_film
        from vsr.pipeline.fingerprint import describe_work

        self._upscaler = upscaler
        self._plan = _plan(film, settings, upscaler)
        self.identity = describe_work(self._plan, upscaler)
        self._notes = tuple(filter(None, [calibrate_on_film(self._plan, upscaler)]))

    def make(self, cells: Cells, folder: Path, num_encoder_threads: int) -> list[Entry]:
        from vsr.pipeline.cells import read_cells
        from vsr.pipeline.run import SegmentMaker
        from vsr.pipeline.segments import Orders
        from vsr.progress import SilentProgress

        upscaler, entries = self._upscaler, list[Any]()
        num_told = len(upscaler.warnings)
        maker = SegmentMaker(self._plan, upscaler, Orders(threading.Event(), threading.Event(), SilentProgress()))
        try:
            maker.make(read_cells(self._plan, cells, maker.landmarks), folder, num_encoder_threads, entries.append)
        finally:
            upscaler.halt.clear()
            del upscaler.warnings[num_told:]
        notes = (*self._notes, *maker.notes)
        return [replace(entry, notes=(*notes, *entry.notes)) for entry in entries]


class _Bench:
    """What a process keeps: one network on its device, and one film."""

    def __init__(self) -> None:
        self._kept = KeptUpscaler(threading.Event())
        self._prepared: _PreparedFilm | None = None
        self._version: object = None  # of the film that is prepared

    def prepare(self, film: RemoteFilm, identity: dict[str, str] | None = None) -> _PreparedFilm:
        """The film, the same as everywhere.

        Raises:
            DeviceError: this machine would make other pictures.
            VsrError: it cannot be done.
        """
        import torch

        from vsr.pipeline.fingerprint import describe_source, find_difference

        torch.set_num_threads(film.num_threads)
        settings = replace(film.settings, device=_find_device())
        version = (film, settings.device, describe_source(film.source))
        if self._prepared is None or version != self._version:
            self._prepared = None
            self._prepared = _PreparedFilm(film, settings, self._kept.get(settings))
            self._version = version
        difference = find_difference(identity, self._prepared.identity) if identity is not None else None
        if difference is not None:
            raise DeviceError(
                f"this machine would make other pictures: {difference}",
                hint="name device and precision, and install the same versions everywhere; or leave the machine out",
            )
        return self._prepared


_bench = _Bench()


def _find_device() -> str:
    """The GPU that Ray has given to this task, as torch counts; "cpu" where it has given none. Not yet run on a GPU."""
    import ray

    given = [str(number) for number in ray.get_gpu_ids()]
    if not given:
        return "cpu"
    # Ray counts those that its node was started with, torch those that this process sees.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return f"cuda:{visible.index(given[0]) if given[0] in visible else given[0]}"


def _plan(film: RemoteFilm, settings: Settings, upscaler: Upscaler) -> FilmPlan:
    """The film's plan. The disk of its output may not be here: it is planned for another place."""
    from vsr.pipeline.plan import plan_film

    with tempfile.TemporaryDirectory(prefix="vsr-") as elsewhere:
        plan = plan_film(film.source, Path(elsewhere, film.output.name), settings, upscaler)
    return replace(plan, output=replace(plan.output, path=film.output))
