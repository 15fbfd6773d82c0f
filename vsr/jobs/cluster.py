"""Films on many machines: Ray deals their segments out to whoever has the time, and repeats what is lost.

This process plans each film, keeps its journal, and joins the segments: so a film that a cluster has begun can be
finished without it, and the other way round. Everything that a scheduler does is Ray's; only the number of tasks that
wait there is bounded here.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vsr.errors import DeviceError, UsageError
from vsr.jobs.cluster_film import ClusterFilm
from vsr.jobs.share import Share
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.model.upscaler import Upscaler
    from vsr.pipeline.plan import FilmPlan
    from vsr.pipeline.segments import Orders

__all__ = ["Cluster"]

CONNECTING_SECONDS = 10.0


class Cluster:
    """A connection to a Ray cluster. A context manager; leaving it ends the connection.

    Args:
        address: "HOST:PORT" of one; "auto": the one that RAY_ADDRESS names or this machine is part of, and this machine
            alone where there is none.

    Raises:
        UsageError: Ray is not installed.
        DeviceError: no cluster answers there.
    """

    def __init__(self, address: str = "auto") -> None:
        self._ray = _load_ray()
        self._is_ours = not self._ray.is_initialized()
        if not self._is_ours:
            return
        if address != "auto":
            _check_presence(address)
        with _keeping_signals():
            try:
                self._ray.init(
                    address=None if address == "auto" else address, include_dashboard=False, log_to_driver=False,
                    configure_logging=False, logging_level=logging.ERROR,
                )  # fmt: skip
            except (ConnectionError, ValueError, RuntimeError) as exc:
                raise _no_cluster(address, str(exc)) from exc

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; a cluster of this machine alone ends with it."""
        if self._is_ours:
            self._ray.shutdown()

    def share(self, device: str) -> Share:
        """What a task takes, of the machines that are there now; see `Share.of`."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return Share.of(machines, device)

    def begin(self, plan: FilmPlan, upscaler: Upscaler, settings: Settings, orders: Orders) -> ClusterFilm:
        """Make the cluster known to a film.

        Args:
            plan, upscaler: of this machine.
            settings: of the film, as they are for all machines.

        Raises:
            DeviceError: the machines would make another film than this one has planned.
            VsrError: a machine cannot work on it.
        """
        return ClusterFilm(self._ray, self.share, plan, upscaler, settings, orders)


def _check_presence(address: str) -> None:
    """Ask whether anybody is there: Ray itself takes minutes to find that nobody is."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"cluster {address!r} is neither auto nor HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTING_SECONDS).close()
    except (OSError, OverflowError) as exc:
        raise _no_cluster(address, str(exc)) from exc


def _no_cluster(address: str, reason: str) -> DeviceError:
    hint = "`ray start --head` makes one; where it asks for a token, set RAY_AUTH_MODE=token; auto does without both"
    return DeviceError(f"no cluster answers at {address!r}: {reason}", hint=hint)


@contextmanager
def _keeping_signals() -> Iterator[None]:
    """Undoes what Ray does to SIGTERM: its handler would end this process wherever it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _load_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
    except ImportError as exc:
        raise UsageError("--cluster needs Ray", hint="pip install 'vsr[cluster]'") from exc
    logging.getLogger("ray").setLevel(logging.ERROR)  # what it has to say to its own users
    return ray
