from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from vsr.errors import (
    DeviceError,
    DownloadError,
    Interrupted,
    LockedError,
    OutputError,
    ProcessingError,
    SettingsError,
    SourceError,
    UnsupportedStreamError,
    VsrError,
)
from vsr.jobs.failure import Failure, describe_death, judge, leaves_doubts
from vsr.lock import FileLock


def caused(error: VsrError, cause: BaseException) -> VsrError:
    error.__cause__ = cause
    return error


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "film.mp4", tmp_path / "out.mp4"


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ESTALE, errno.EIO, errno.EHOSTDOWN, errno.EMFILE]
)
def test_conditions_of_the_system_may_pass(number: int, place: tuple[Path, Path]):
    assert judge(caused(OutputError("not written"), system_error(number)), *place).may_pass
    assert judge(system_error(number), *place).may_pass


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EEXIST, errno.EINVAL, errno.ENOENT])
def test_others_do_not(number: int, place: tuple[Path, Path]):
    assert not judge(caused(OutputError("not written"), system_error(number)), *place).may_pass


def test_ffmpegs_errors_count_by_their_number(place: tuple[Path, Path]):
    import av

    class Full(av.error.FFmpegError):
        pass

    assert judge(caused(OutputError("full"), Full(errno.ENOSPC, "full")), *place).may_pass
    assert not judge(caused(SourceError("no film"), av.error.InvalidDataError(1, "no film")), *place).may_pass


@pytest.mark.parametrize(
    "cause",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
        torch.AcceleratorError("CUDA error: unspecified launch failure", 719),
    ],
)
def test_memory_and_accelerators_may_pass(cause: Exception, place: tuple[Path, Path]):
    assert judge(caused(ProcessingError("'film.mp4' at 3.000 s: it failed"), cause), *place).may_pass


def test_what_the_network_of_machines_did_may_pass(place: tuple[Path, Path]):
    assert judge(DownloadError("weights could not be fetched"), *place).may_pass


@pytest.mark.parametrize(
    "error",
    [
        SourceError("no film"),
        UnsupportedStreamError("#3"),
        SettingsError("crf"),
        DeviceError("cuda:9"),
        ValueError("x"),
    ],
)
def test_what_will_fail_again(error: Exception, place: tuple[Path, Path]):
    assert not judge(error, *place).may_pass


def test_a_missing_file_is_missing_and_a_missing_folder_may_be_a_share(tmp_path: Path):
    missing = caused(SourceError("'film.mp4' does not exist"), FileNotFoundError(errno.ENOENT, "no such file"))
    output = tmp_path / "out.mp4"
    assert not judge(missing, tmp_path / "film.mp4", output).may_pass
    assert judge(missing, tmp_path / "share" / "film.mp4", output).may_pass
    assert judge(missing, tmp_path / "film.mp4", tmp_path / "share" / "out.mp4").may_pass


def test_the_words_of_the_error(place: tuple[Path, Path]):
    failure = judge(SourceError("'a' is no film", hint="look at it"), *place)
    assert failure == Failure("SourceError", "'a' is no film", "look at it", may_pass=False, is_interrupted=False)
    failure = judge(KeyError("a"), *place)
    assert (failure.kind, failure.message) == ("KeyError", "internal error: KeyError: 'a'")


def test_an_interruption_is_no_failure(place: tuple[Path, Path]):
    assert judge(Interrupted(), *place).is_interrupted
    assert judge(Interrupted(), *place).may_pass


def test_how_a_worker_died():
    assert describe_death(-9).message == "the worker was ended by signal 9 (SIGKILL)"
    assert "memory" in (describe_death(-9).hint or "")
    assert describe_death(-11).message == "the worker was ended by signal 11 (SIGSEGV)"
    assert describe_death(-63).message.startswith("the worker was ended by signal 63")
    assert describe_death(1).message == "the worker ended with status 1"
    assert all(describe_death(status).may_pass for status in (-9, -11, 1))


def test_a_lock_may_pass(tmp_path: Path):
    with FileLock(tmp_path / "lock", "'out.mp4'"):
        with pytest.raises(LockedError) as caught:
            FileLock(tmp_path / "lock", "'out.mp4'")
        failure = judge(caught.value, tmp_path / "film.mp4", tmp_path / "out.mp4")
    assert (failure.kind, failure.may_pass) == ("LockedError", True)
    assert not leaves_doubts(failure)


def test_which_failures_leave_doubts(place: tuple[Path, Path]):
    assert not leaves_doubts(judge(SourceError("no film"), *place))
    assert not leaves_doubts(judge(Interrupted(), *place))
    assert leaves_doubts(judge(ProcessingError("CUDA error"), *place))
    assert leaves_doubts(judge(RuntimeError("?"), *place))
