"""A published file, fetched whole and correct: resumed where it broke off, checked by size and sha256."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

__all__ = ["Progress", "Published", "Refused", "download_file", "find_fault"]

Progress = Callable[[int, int], None]

_CHUNK_BYTES = 1 << 18
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class Published(Protocol):
    """A file as its publisher made it."""

    @property
    def num_bytes(self) -> int: ...

    @property
    def sha256(self) -> str: ...


class Refused(Exception):
    """The file cannot be had from there; says why."""


class _Broken(Exception):
    """The connection or its content failed; another try may go better."""


def download_file(
    url: str,
    published: Published,
    target: Path,
    *,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 5,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch `url` to `target`, by way of `target`.part, which a later call continues if this one breaks off.

    Args:
        published: size and sha256 that the file must have.
        progress: called with (bytes done, bytes in all).
        timeout: seconds without a single byte after which the connection counts as broken.
        attempts: tries in all, with growing pauses between them, made by `sleep`.

    Raises:
        Refused: the server will not give it, or gave something else at every attempt.
        OSError: it cannot be kept here.
    """
    part = target.with_name(target.name + ".part")
    for attempt in range(attempts):
        if attempt:
            sleep(min(2.0 ** (attempt - 1), 30.0))
        try:
            _receive(published, url, part, progress, timeout)
            reason = find_fault(part, published)
            if reason is None:
                break
            part.unlink()
            raise _Broken(f"what came is not the published file: {reason}")
        except _Broken as exc:
            if attempt == attempts - 1:
                raise Refused(f"{exc} (tried {attempts} times)") from exc
    part.replace(target)
    _flush_folder(target.parent)


def find_fault(path: Path, published: Published) -> str | None:
    """What distinguishes the file at `path` from the published one; None if nothing."""
    try:
        num_bytes = path.stat().st_size
        if num_bytes != published.num_bytes:
            return f"{num_bytes} bytes instead of {published.num_bytes}"
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        return f"it cannot be read: {exc.strerror or exc}"
    return None if sha256 == published.sha256 else f"sha256 {sha256} instead of {published.sha256}"


def _receive(published: Published, url: str, part: Path, progress: Progress | None, timeout: float) -> None:
    """One connection: appends to `part` what is missing of it."""
    done = part.stat().st_size if part.exists() else 0
    if done > published.num_bytes:
        part.unlink()
        done = 0
    if done == published.num_bytes:
        return
    with _open(url, done, part, timeout) as response:
        if done and not _continues(response, done):
            if response.status == 206:  # some other piece: of no use, and the next try asks for all of it
                part.unlink()
            done = 0
        _check_answer(response, published, done)
        with part.open("ab" if done else "wb") as file:
            _copy(response, file, published, done, progress)
            file.flush()
            os.fsync(file.fileno())


def _open(url: str, done: int, part: Path, timeout: float) -> http.client.HTTPResponse:
    headers = {"User-Agent": "vsr", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == 416:  # the part is of another file
            part.unlink(missing_ok=True)
            raise _Broken("the server cannot continue the download") from exc
        message = f"the server answers {exc.code} {exc.reason}"
        raise (_Broken if exc.code in _RETRIED_STATUS else Refused)(message) from exc
    except urllib.error.URLError as exc:
        raise _Broken(f"no connection: {exc.reason}") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise _Broken(f"the connection broke before an answer: {str(exc) or type(exc).__name__}") from exc
    return response


def _continues(response: http.client.HTTPResponse, start: int) -> bool:
    content_range = response.headers.get("Content-Range", "")
    return response.status == 206 and content_range.startswith(f"bytes {start}-")


def _check_answer(response: http.client.HTTPResponse, published: Published, done: int) -> None:
    """Raises unless the body of `response` can be the file from byte `done` on."""
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise Refused("the server sent a web page instead of the file (does a proxy or a login stand in between?)")
    if response.status not in (200, 206) or (response.status == 206 and not done):
        raise _Broken(f"the server answers {response.status} {response.reason}")
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > published.num_bytes - done:
        raise Refused(f"the server offers {int(length) + done} bytes, the published file has {published.num_bytes}")


def _copy(
    response: http.client.HTTPResponse, file: BinaryIO, published: Published, done: int, progress: Progress | None
) -> None:
    while True:
        if progress is not None:
            progress(done, published.num_bytes)
        try:
            chunk = response.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as exc:  # TimeoutError is an OSError
            raise _Broken(f"the connection broke after {done} of {published.num_bytes} bytes: {exc}") from exc
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
        if done > published.num_bytes:
            raise Refused(f"the server sent more than the {published.num_bytes} bytes of the published file")
    if done < published.num_bytes:
        raise _Broken(f"the connection ended after {done} of {published.num_bytes} bytes")


def _flush_folder(folder: Path) -> None:
    """Makes a rename in `folder` outlive a power cut, where the platform can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
