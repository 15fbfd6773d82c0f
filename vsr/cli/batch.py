"""`vsr batch`: many films, in a folder or named by a TOML file; run again, it goes on with what is not done."""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.cli.options import read_given
from vsr.cli.output_file import written_whole
from vsr.cli.signals import heeding
from vsr.errors import OutputError, UsageError
from vsr.progress import printable

if TYPE_CHECKING:
    from vsr.jobs.batch import Hire
    from vsr.jobs.batch_report import BatchReport
    from vsr.jobs.entry import Entry
    from vsr.jobs.job import Job
    from vsr.jobs.ledger import Ledger

INTERRUPTED = 130
LEDGER = ".vsr-batch.sqlite"


def run(options: argparse.Namespace) -> int:
    """Make every film of the batch; 0 if all are done, 1 if any is not, 130 if interrupted."""
    _check_report(options.report)
    if options.output == "":
        raise UsageError("-o has an empty name")
    path = Path(os.path.abspath(options.input))
    if path.is_dir():
        entries = [_read_folder(path, options)]
        place = entries[0].output / LEDGER
    else:
        entries = _read_file(path, options)
        place = path.with_suffix(LEDGER)
    notes: list[str] = []
    return (_forecast if options.dry_run else _work)(options, str(path), entries, place, notes)


def _work(options: argparse.Namespace, batch_name: str, entries: list[Entry], place: Path, notes: list[str]) -> int:
    from vsr.jobs.batch import Batch
    from vsr.jobs.batch_report import BatchReport
    from vsr.jobs.display import Display
    from vsr.jobs.ledger import Ledger

    is_quiet = options.quiet or options.json
    jobs = _list_jobs(entries, place, notes)
    with ExitStack() as stack:
        hires = stack.enter_context(_hiring(options))
        _make_folder(place.parent)
        ledger = stack.enter_context(Ledger(place))
        batch = Batch(ledger, batch_name, hires, overwrite=options.overwrite, fresh=options.fresh)
        with heeding({signal.SIGINT: batch.stop, signal.SIGTERM: batch.stop}):
            batch.enter(jobs)
            del jobs  # the ledger has them
            with Display(len(hires), ledger.counts(batch=batch_name), is_quiet=is_quiet) as display:
                is_over = batch.run(display)
        report = BatchReport(ledger, batch_name, batch.began, tuple(notes))
        if not is_quiet:
            print(report.format_table(), file=sys.stderr)
        _write(report, options)
    if not is_over:
        print("vsr: interrupted; the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    return 0 if report.is_all_well else 1


@contextmanager
def _hiring(options: argparse.Namespace) -> Iterator[list[Hire]]:
    """Who makes the films: a worker process for each device, or a cluster."""
    if options.cluster is None:
        from vsr.jobs.crew import Worker
        from vsr.jobs.devices import list_devices

        yield [partial(Worker, device) for device in list_devices(options.device)]
        return
    from vsr.jobs.cluster import Cluster
    from vsr.jobs.cluster_hand import FILMS_AT_A_TIME, ClusterHand

    with Cluster(options.cluster) as cluster:
        yield [partial(ClusterHand, cluster)] * FILMS_AT_A_TIME


def _forecast(options: argparse.Namespace, batch_name: str, entries: list[Entry], place: Path, notes: list[str]) -> int:
    """Say what would be done; nothing is written."""
    from vsr.jobs.ledger import Ledger

    jobs = _list_jobs(entries, place, notes)
    actions = ["make"] * len(jobs)
    if place.exists():
        with Ledger(place) as ledger:
            actions = [_foresee(job, ledger, is_fresh=options.fresh) for job in jobs]
    if options.json:
        films = [
            {"input": str(job.source), "output": str(job.output), "action": action, "settings": job.settings}
            for job, action in zip(jobs, actions, strict=True)
        ]
        print(json.dumps({"batch": batch_name, "notes": notes, "films": films}))
        return 0
    for job, action in zip(jobs, actions, strict=True):
        print(f"{action:7} {printable(str(job.source))} -> {printable(str(job.output))}")
    return 0


def _foresee(job: Job, ledger: Ledger, *, is_fresh: bool) -> str:
    """ "make", "remake" (made before, from another source or with other settings), "retry", "skip", "leave"."""
    from vsr.jobs.job import State
    from vsr.jobs.owner import is_alive

    known = ledger.find(job.source, job.output)
    if known is None:
        return "make"
    match known.state:
        case State.WORKING if is_alive(str(known.owner)):
            return "leave"
        case State.DONE:
            is_same = not is_fresh and known.settings == job.settings and ledger.is_still_finished(known)
            return "skip" if is_same else "remake"
        case State.FAILED | State.CANCELLED:
            return "retry"
    return "make"


# What the films are.


def _read_folder(folder: Path, options: argparse.Namespace) -> Entry:
    """All films of a folder as one entry; without -o they go to FOLDER_x4 beside it."""
    from vsr.jobs.entry import Entry, merge_settings
    from vsr.jobs.name_template import DEFAULT_TEMPLATE, NameTemplate
    from vsr.settings import Settings

    settings, preset = merge_settings([_read_flags(options)])
    if options.output:
        output = Path(os.path.abspath(options.output))
    else:
        chosen = Settings.from_options(**settings)
        output = folder.with_name(f"{folder.name}_x{_find_scale(chosen.model, chosen.scale):g}")
    template = NameTemplate(options.name or DEFAULT_TEMPLATE)
    return Entry(str(folder), folder, str(folder), output, template, settings, preset, is_recursive=options.recursive)


def _read_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The settings given. A weights file is named in full, so that it is the same one wherever the command is given."""
    given = read_given(options)
    if os.path.isfile(given.get("model", "")):
        given["model"] = os.path.abspath(given["model"])
    return given


def _read_file(path: Path, options: argparse.Namespace) -> list[Entry]:
    from vsr.jobs.batch_file import read_batch_file

    if path.suffix.lower() != ".toml":
        what = "is neither a folder nor a batch file" if path.exists() else "does not exist"
        raise UsageError(f"{options.input!r} {what}", hint="give a folder, or a TOML file; `vsr upscale` takes films")
    if options.recursive:
        raise UsageError("--recursive is for folders", hint="in a batch file ** stands for folders at any depth")
    output = Path(os.path.abspath(options.output)) if options.output else None
    return read_batch_file(path, _read_flags(options), output=output, name=options.name)


def _list_jobs(entries: list[Entry], place: Path, notes: list[str]) -> list[Job]:
    """All films; what an earlier run made is none."""
    from vsr.jobs.entry import list_jobs
    from vsr.jobs.ledger import Ledger

    known_outputs: set[Path] = set()
    if place.exists():
        with Ledger(place) as ledger:
            known_outputs = ledger.outputs()
    jobs = list_jobs(entries, _find_scale, known_outputs=known_outputs, say=notes.append)
    for note in notes:
        print(f"vsr: note: {printable(note)}", file=sys.stderr)
    return jobs


@functools.cache
def _find_scale(model: str, scale: float | None) -> float:
    """How many times a film will be as large.

    Raises:
        ModelError: there is no such network.
    """
    if scale is not None:
        return scale
    from vsr.model import catalog

    entry, path = catalog.resolve(model)
    if entry is not None:
        return entry.scale
    from vsr.model.loading import load_model  # loads torch; only the weights know

    assert path is not None
    return load_model(path).scale


# What becomes of it.


def _check_report(report: str | None) -> None:
    if report is not None and (os.path.isdir(report) or not os.path.isdir(Path(report).absolute().parent)):
        raise UsageError(f"--report {report!r} cannot be written", hint="name a file in a folder that is there")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"the folder {str(folder)!r} cannot be made: {exc.strerror}") from exc


def _write(report: BatchReport, options: argparse.Namespace) -> None:
    if options.json:
        report.write_json(sys.stdout)
        sys.stdout.flush()
    if options.report is not None:
        with (
            written_whole(Path(options.report), overwrite=True) as temporary,
            open(temporary, "w", encoding="utf-8") as file,
        ):
            report.write_json(file)
