"""Who may see the page: everybody who reaches it, or those who know a token."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from vsr.errors import UsageError
from vsr.page.address import Address

__all__ = ["Access", "read_token"]

TOKEN_VARIABLE = "VSR_TOKEN"
SHORTEST_TOKEN = 16
_COOKIE_SECONDS = 30 * 24 * 3600


def read_token(file: str | Path | None, environment: Mapping[str, str]) -> str | None:
    """The token of `--token FILE`, else of the environment's VSR_TOKEN; None: there is none.

    It never stands on the command line, where every user of the machine could read it.

    Raises:
        UsageError: the file cannot be read, or the token is too short or not of visible ASCII.
    """
    if file is not None:
        origin = str(file)
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(f"the token file {origin!r} cannot be read: {exc}", hint="--token FILE") from exc
    elif environment.get(TOKEN_VARIABLE):
        origin, token = TOKEN_VARIABLE, environment[TOKEN_VARIABLE].strip()
    else:
        return None
    if not re.fullmatch(rf"[!-~]{{{SHORTEST_TOKEN},}}", token):
        raise UsageError(
            f"the token of {origin} is not {SHORTEST_TOKEN} or more letters, digits and signs of ASCII without blanks",
            hint="make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return token


class Access:
    """Admits who shows the token, as `Authorization: Bearer TOKEN` or by the cookie that the login form gives.

    The cookie holds not the token but what only its owner can make of it; it outlives a restart of the daemon, and a
    new token ends it. Comparisons take the same time wherever the difference is.
    """

    def __init__(self, address: Address, token: str | None) -> None:
        """
        Raises:
            UsageError: `address` is reached from other machines and there is no token.
        """
        if token is None and not address.is_loopback:
            raise UsageError(
                f"a page at {address.url} is reached from other machines, and needs a token",
                hint=f"--token FILE, or {TOKEN_VARIABLE} in the environment; 127.0.0.1 needs none",
            )
        self._token = token
        self._cookie = f"vsr_{address.port}"  # cookies know no ports: two daemons of a machine share a jar

    @property
    def is_guarded(self) -> bool:
        return self._token is not None

    def admits(self, authorization: str, cookies: Mapping[str, str]) -> bool:
        """Whether a request with these headers may pass."""
        if self._token is None:
            return True
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() == "bearer" and self.is_token(shown.strip()):
            return True
        return _is_same(cookies.get(self._cookie, ""), self._session())

    def is_token(self, text: str) -> bool:
        return self._token is not None and _is_same(text, self._token)

    def give_cookie(self) -> str:
        """The Set-Cookie header of who has shown the token. No script reads it, no other site's request carries it."""
        return f"{self._cookie}={self._session()}; Max-Age={_COOKIE_SECONDS}; Path=/; HttpOnly; SameSite=Strict"

    def take_cookie(self) -> str:
        """The Set-Cookie header that makes the browser forget."""
        return f"{self._cookie}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"

    def _session(self) -> str:
        return hmac.new((self._token or "").encode(), b"vsr: who sees the page", hashlib.sha256).hexdigest()


def _is_same(shown: str, expected: str) -> bool:
    # Digests, since compare_digest tells the length and takes no text beyond ASCII.
    digests = [hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (shown, expected)]
    return hmac.compare_digest(*digests)
