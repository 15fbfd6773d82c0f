"""Films that come in by the page: streamed into the inbox, under their own name only when they are whole."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import shutil
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vsr.errors import OutputError
from vsr.page.answers import Refusal, answer, read_json
from vsr.page.board import Board
from vsr.video.naming import give_name, remove_stale, temporary_name

__all__ = ["Uploads"]

LONGEST_NAME = 200  # bytes; 255 is the limit, and outputs and reports add to it
_PIECE = 1 << 20  # bytes written at once


class Uploads:
    """PUT /api/uploads/NAME with the film as its body; POST /api/uploads tells before whether it would be taken."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._coming: set[str] = set()

    def routes(self) -> list[Route]:
        return [
            Route("/api/uploads", self.check, methods=["POST"]),
            Route("/api/uploads/{name:path}", self.take, methods=["PUT"]),
        ]

    async def check(self, request: Request) -> Response:
        """Takes {"name": text, "size": bytes}. A browser refused amid a body may not read why, so it asks first."""
        order = await read_json(request)
        name, size = order.get("name"), order.get("size")
        if not isinstance(name, str) or not isinstance(size, int) or size < 0:
            raise Refusal(400, 'this takes {"name": text, "size": bytes}')
        await asyncio.to_thread(self._check, name, size)
        return answer({})

    async def take(self, request: Request) -> Response:
        name, size = request.path_params["name"], request.headers.get("content-length", "")
        floor = await asyncio.to_thread(self._check, name, int(size) if size.isdecimal() else 0)
        if name in self._coming:  # since it was checked
            raise _coming_already(name)
        self._coming.add(name)
        try:
            await self._receive(request, self._board.inbox / name, floor)
        finally:
            self._coming.discard(name)
        return answer({"name": name}, 201)

    def _check(self, name: str, size: int) -> int:
        """How many bytes have to stay free.

        Raises:
            Refusal: a film of this name and size is not taken, and why.
        """
        check_name(name, self._board.takes)
        if name in self._coming:
            raise _coming_already(name)
        if os.path.lexists(self._board.inbox / name):
            raise Refusal(409, f"{name!r} is in the inbox already", hint="rename one of the two")
        floor = int(self._board.snapshot().get("disk_floor_bytes", 0))
        check_room(self._board.inbox, size, floor)
        return floor

    async def _receive(self, request: Request, path: Path, floor: int) -> None:
        temporary = temporary_name(path)
        try:
            with _translated_errors():
                file = await asyncio.to_thread(_open, path, temporary)
            with file:
                async for piece in _pieces(request):
                    await asyncio.to_thread(_write, file, piece, floor)
                await asyncio.to_thread(_make_durable, file)
            with _translated_errors():
                await asyncio.to_thread(give_name, temporary, path, False)
        except OutputError as exc:
            raise Refusal(409, f"{path.name!r} came into the inbox meanwhile", hint="rename one of the two") from exc
        finally:
            with suppress(OSError):
                temporary.unlink()  # gone already, where all went well


async def _pieces(request: Request) -> AsyncIterator[bytearray]:
    """The body in pieces that are worth the way to another thread."""
    piece = bytearray()
    async for data in request.stream():
        piece += data
        if len(piece) >= _PIECE:
            yield piece
            piece = bytearray()
    yield piece


def check_name(name: str, takes: Callable[[str], bool]) -> None:
    """
    Args:
        takes: see `Board.takes`.

    Raises:
        Refusal: `name` is not that of a file which may come into the inbox.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # a lone surrogate
        length = 0
    reason = None
    if not length or not name.strip():
        reason = "it is empty, or no text"
    elif "/" in name or "\\" in name:
        reason = "it names a folder"
    elif name.startswith("."):
        reason = "names that begin with a dot are left alone in the inbox"
    elif any(_is_unseen(sign) for sign in name):
        reason = "it holds characters that cannot be seen"
    elif length > LONGEST_NAME:
        reason = f"it has more than {LONGEST_NAME} bytes"
    elif not takes(name):
        reason = "it is not that of a complete film or picture, as film.mp4 is"
    if reason is not None:
        shown = name if len(name) <= 80 else f"{name[:80]}..."
        raise Refusal(400, f"{shown!r} is no name for an upload: {reason}", hint="rename the file")


def _is_unseen(sign: str) -> bool:
    """Control characters, and those that turn the reading direction; not the joiners that Persian and emoji need."""
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") and sign not in "\u200c\u200d"


def check_room(folder: Path, size: int, floor: int) -> None:
    """
    Raises:
        Refusal: with `size` bytes more in `folder` fewer than `floor` would be free.
    """
    with _translated_errors():
        free = shutil.disk_usage(folder).free
    if free - size < floor:
        raise Refusal(
            507,
            f"no room: {free / 1e9:.1f} GB are free, and {floor / 1e9:.1f} GB have to stay free",
            hint="make room on the disk of the inbox",
        )


def _coming_already(name: str) -> Refusal:
    return Refusal(409, f"{name!r} is being uploaded already", hint="wait for it")


@contextmanager
def _translated_errors() -> Iterator[None]:
    """
    Raises:
        Refusal: where the file system would not.
    """
    try:
        yield
    except OSError as exc:
        status = 507 if exc.errno in (errno.ENOSPC, errno.EDQUOT) else 500
        # Without the path, which the other end need not know.
        raise Refusal(status, f"the inbox cannot be written to: {exc.strerror or type(exc).__name__}") from exc


def _open(path: Path, temporary: Path) -> io.FileIO:
    remove_stale(path)
    return temporary.open("wb", buffering=0)  # what a buffer holds back would fail where the file is closed


def _write(file: io.FileIO, piece: bytearray, floor: int) -> None:
    check_room(Path(file.name).parent, len(piece), floor)  # the length was not told, or others write too
    with _translated_errors(), memoryview(piece) as view:
        done = 0
        while done < len(view):
            done += file.write(view[done:])


def _make_durable(file: io.FileIO) -> None:
    """A power cut must not leave a whole name with half a film."""
    with _translated_errors():
        os.fsync(file.fileno())
