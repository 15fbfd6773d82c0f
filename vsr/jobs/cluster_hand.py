"""One film at a time on a cluster; to its caller the same as a worker of `vsr.jobs.crew`."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vsr.errors import DeviceError, Interrupted, VsrError
from vsr.jobs.cluster import Cluster
from vsr.jobs.cluster_film import ClusterFilm
from vsr.jobs.failure import judge
from vsr.jobs.kept_upscaler import KeptUpscaler
from vsr.jobs.messages import Event, Failed, Finished, Order
from vsr.jobs.news import News
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.model.upscaler import Upscaler
    from vsr.pipeline.plan import FilmPlan
    from vsr.pipeline.report import Report

__all__ = ["FILMS_AT_A_TIME", "ClusterHand"]

# While one is joined, or is down to its last tasks, the cluster works on the other.
FILMS_AT_A_TIME = 2


class ClusterHand:
    """Makes films on a cluster, one after the other.

    Its methods are those of `vsr.jobs.crew.Worker`, and mean the same. There are no previews.

    Args:
        on_event: hears about the job at work, from a thread of the hand's.
    """

    def __init__(self, cluster: Cluster, on_event: Callable[[Event], None]) -> None:
        self._cluster, self._on_event = cluster, on_event
        self._cancel, self._pause = threading.Event(), threading.Event()
        self._kept = KeptUpscaler(self._cancel)
        self._thread: threading.Thread | None = None
        self._is_idle = True

    @property
    def is_idle(self) -> bool:
        """No job is at work."""
        return self._is_idle

    def begin(self, order: Order) -> None:
        """Do this job. The hand must be idle."""
        assert self._is_idle
        self._is_idle = False
        self._cancel.clear()
        self._pause.clear()
        self._thread = threading.Thread(target=self._work, args=(order,), name=f"vsr-cluster-{order.job_id}")
        self._thread.start()

    def pause(self) -> None:
        """Stop when the tasks under way are finished."""
        self._pause.set()

    def cancel(self) -> None:
        """Stop now."""
        self._cancel.set()

    def close(self) -> None:
        """Stop, and return when that is done. Not to be called by `on_event`."""
        self.cancel()
        if self._thread is not None:
            self._thread.join()

    def _work(self, order: Order) -> None:
        event = self._do(order)
        self._is_idle = True
        self._on_event(event)

    def _do(self, order: Order) -> Event:
        news = News(order.job_id, self._on_event)
        try:
            report = self._upscale(order, order.read_settings(), news)
        except Exception as exc:
            if not isinstance(exc, VsrError | Interrupted):
                traceback.print_exception(exc)
            return Failed(order.job_id, judge(exc, order.source, order.output))
        news.conclude(report.frames_out)
        return Finished(order.job_id, report.as_dict())

    def _upscale(self, order: Order, settings: Settings, news: News) -> Report:
        from vsr.api import upscale
        from vsr.pipeline.segments import Orders

        films: list[ClusterFilm] = []

        def find_makers(plan: FilmPlan, upscaler: Upscaler) -> ClusterFilm:
            films.append(self._cluster.begin(plan, upscaler, settings, Orders(self._cancel, self._pause, news)))
            return films[0]

        planning, upscaler = self._prepare(settings)
        report = upscale(
            order.source, order.output, settings=planning, upscaler=upscaler, progress=news, cancel=self._cancel,
            pause=self._pause, find_makers=find_makers,
        )  # fmt: skip
        for film in films:  # none for a picture, which is made here
            report = replace(
                report, device=f"cluster ({film.identity['device']})", precision=film.identity["precision"]
            )
        return report

    def _prepare(self, settings: Settings) -> tuple[Settings, Upscaler]:
        """What this machine plans the film with: as the cluster makes it, but for what only its machines have."""
        if self._cluster.share(settings.device).device == "cpu":
            settings = replace(settings, device="cpu")
        try:
            return settings, self._kept.get(settings)
        except DeviceError:
            settings = replace(settings, device="cpu", precision="auto", engine="auto", decoder="auto")
            return settings, self._kept.get(settings)
