"""The page of a daemon: where it is to be served and for whom, and then its service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from vsr.errors import UsageError
from vsr.page.access import Access
from vsr.page.address import Address, names_of
from vsr.page.board import Board

__all__ = ["Page"]


class Page:
    """A page to be served: all that can be wrong with the wish is said before there is a daemon to show."""

    def __init__(self, address: Address, token: str | None = None, names: Iterable[str] = ()) -> None:
        """
        Args:
            token: what browsers have to show; see `access.read_token`.
            names: more hosts under which the page is asked for, as behind a proxy.

        Raises:
            UsageError: `address` is not loopback and there is no token, or the extra `watch` is not installed.
        """
        self._address = address
        self._access, self._names = Access(address, token), names_of(address, names)
        try:
            from vsr.page.server import ServerThread
            from vsr.page.site import Site
        except ImportError as exc:
            raise UsageError(f"the page needs {exc.name}", hint="pip install 'vsr[watch]'") from exc
        self._site_of, self._server_of = Site, ServerThread

    @contextmanager
    def serve(self, board: Board) -> Iterator[str]:
        """Serve the page of `board`, by a thread, while the block runs; gives its URL. Leaving takes two seconds.

        Raises:
            UsageError: the address cannot be had.
            VsrError: the board lets nobody subscribe.
        """
        with self._address.bind() as listener:
            server = self._server_of(self._site_of(board, self._names, self._access), listener)
            server.start()
            try:
                server.wait_until_up()
                yield Address(self._address.host, listener.getsockname()[1]).url
            finally:
                server.close()
