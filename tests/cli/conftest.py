"""The command line as a user calls it, in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vsr.cli import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """run("upscale", path, "--quiet"): the exit status, and what came to stdout and stderr; never a traceback."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exc:  # argparse leaves so
            status = int(exc.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "internal error" not in err
        return status, out, err

    return call
