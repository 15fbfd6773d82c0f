"""The command line: arguments in, exit status out. Heavy imports wait inside each command.

Exit status: 0 done and verified; 1 the work failed; 2 wrong usage; 130 interrupted. Messages go to stderr, data to
stdout.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence

from vsr.cli.arguments import build_parser
from vsr.errors import Interrupted, VsrError
from vsr.progress import printable

__all__ = ["main", "report_error"]

INTERRUPTED = 130

# Threads of torch that wait for each other would do so at full speed, and starve the encoder and other programs: small
# tiles on a busy machine took up to forty times as long. Read by the OpenMP library when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # old films have titles that no encoding fits
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return _run(options)
    except (KeyboardInterrupt, Interrupted):
        if arguments is None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # this process is ending; one more Ctrl-C adds nothing
        print(
            "vsr: interrupted; finished segments of a film are kept (`vsr jobs`): the same command goes on with them",
            file=sys.stderr,
        )
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`vsr models list | head`); Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as exc:
        if options.debug:
            raise
        return report_error(exc)


def report_error(error: Exception) -> int:
    """The error on stderr: what is wrong, then the way out. Returns the exit status that goes with it."""
    if isinstance(error, VsrError):
        message, hint, status = error.message, error.hint, error.exit_status
    else:
        message = f"internal error: {type(error).__name__}: {error}"
        hint, status = "please report it, with what --debug prints", 1
    print(f"vsr: {printable(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {printable(hint)}", file=sys.stderr)
    return status


def _run(options: argparse.Namespace) -> int:
    command = importlib.import_module(f"vsr.cli.{options.command}")
    status: int = command.run(options)
    sys.stdout.flush()
    return status
