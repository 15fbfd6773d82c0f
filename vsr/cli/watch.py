"""`vsr watch`: a daemon that makes larger whatever is dropped into a folder."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.cli.options import read_given
from vsr.cli.signals import heeding
from vsr.errors import UsageError
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.page.page import Page


def run(options: argparse.Namespace) -> int:
    """Watch until told to stop; 0. With `--once`, until everything is done; 1 if something is not."""
    from vsr.jobs.clock import SystemClock
    from vsr.jobs.daemon import Daemon, Terms
    from vsr.jobs.devices import list_devices
    from vsr.jobs.inbox import Inbox
    from vsr.jobs.log import Log

    if options.attempts < 1:
        raise UsageError(f"--attempts {options.attempts} is less than one")
    if options.output == "":
        raise UsageError("-o has an empty name")  # and would be the folder that one happens to be in
    if not os.path.isdir(options.inbox):
        raise UsageError(f"there is no folder {options.inbox!r} to watch", hint="make it first")
    values = _settle_paths(read_given(options))
    Settings.from_options(**values)  # what is wrong with it is said now, and not of every film
    inbox = Inbox(Path(options.inbox).resolve(), Path(options.output).resolve())
    terms = Terms(
        settings=values,
        devices=list_devices(options.device),
        poll=options.poll,
        settle=options.settle,
        min_free=options.min_free,
        attempts=options.attempts,
        is_once=options.once,
        state=Path(options.state).resolve() if options.state else None,
    )
    log = Log(sys.stdout if options.json else sys.stderr, SystemClock(), as_json=options.json)
    page = _make_page(options)
    daemon = Daemon(inbox, terms, log)
    with (
        heeding({signal.SIGTERM: daemon.stop, signal.SIGINT: daemon.stop, signal.SIGHUP: daemon.look}),
        daemon,
        page.serve(daemon.station) if page else nullcontext() as url,
    ):
        if url is not None:
            log.say("serving", f"its page is {url}", url=url)
        return daemon.run()


def _make_page(options: argparse.Namespace) -> Page | None:
    """The page that is asked for; what is wrong with it is said before the daemon starts."""
    if options.serve is None:
        if options.token is not None or options.host_name:
            raise UsageError("--token and --host-name are of the page", hint="--serve ADDRESS serves it")
        return None
    from vsr.page.access import read_token
    from vsr.page.address import Address
    from vsr.page.page import Page

    return Page(Address.parse(options.serve), read_token(options.token, os.environ), options.host_name)


def _settle_paths(values: dict[str, Any]) -> dict[str, Any]:
    """Files named from here are found from anywhere: the queue outlives this process and its working folder."""
    return values | {
        key: os.path.abspath(values[key])
        for key in ("preset", "model")
        if key in values and os.path.isfile(values[key])
    }
