"""The daemon's figures in Prometheus's text format 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["CONTENT_TYPE", "expose"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Of the figures that the daemon counts itself; others are named by their name.
HELP = {
    "frames_total": "Frames computed since the daemon began.",
    "films_done_total": "Films done since the daemon began.",
    "films_failed_total": "Films given up since the daemon began.",
    "attempts_failed_total": "Attempts that failed since the daemon began.",
    "start_time_seconds": "When the daemon began, in seconds since the epoch.",
    "pages_open": "Pages that follow the daemon.",
}

Sample = tuple[Mapping[str, str], float]


def expose(snapshot: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """All figures of a snapshot of `Board`, and those of its `metrics`, as one text."""
    working = snapshot["working"]

    def of_films(key: str) -> list[Sample]:
        return [({"film": film["job"]["name"]}, film[key]) for film in working if film[key] is not None]

    families: list[tuple[str, str, Iterable[Sample]]] = [
        ("vsr_info", "The version of vsr.", [({"version": snapshot["version"]}, 1)]),
        ("vsr_jobs", "Jobs by state.", [({"state": state}, count) for state, count in snapshot["counts"].items()]),
        ("vsr_paused", "Whether everything is paused.", [({}, snapshot["paused"])]),
        ("vsr_trouble", "Whether something keeps the daemon from its work.", [({}, bool(snapshot.get("trouble")))]),
        ("vsr_disk_free_bytes", "Bytes free where the outputs go.", [({}, snapshot["disk_free_bytes"])]),
        ("vsr_disk_floor_bytes", "Bytes that stay free.", [({}, snapshot.get("disk_floor_bytes", 0))]),
        ("vsr_film_frames_done", "Frames done of a film at work.", of_films("done")),
        ("vsr_film_frames", "Frames of a film at work.", of_films("total")),
        ("vsr_film_frames_per_second", "Frames per second of a film at work.", of_films("fps")),
        ("vsr_film_eta_seconds", "Seconds until a film at work is done.", of_films("eta_seconds")),
    ]
    families += [(f"vsr_{name}", HELP.get(name, name.replace("_", " ")), [({}, metrics[name])]) for name in metrics]
    return "".join(_family(name, text, list(samples)) for name, text, samples in families)


def _family(name: str, text: str, samples: list[Sample]) -> str:
    if not samples:
        return ""
    kind = "counter" if name.endswith("_total") else "gauge"
    # In help texts only these two are escaped; in values of labels quotes too.
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = [f'{name}="{_escape(value)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escape(value: str) -> str:
    text = value.encode("utf-8", "backslashreplace").decode()  # a name that is no Unicode
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value)) if value != int(value) else str(int(value))
