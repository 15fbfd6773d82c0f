"""The door of the page: what may come in at all, and what every answer tells the browser to refuse.

A page on loopback is reached by every other page that the same browser has open. They cannot read answers (there are
no CORS headers), but they could send orders, so everything that changes something must be shown to come from our own;
the rest is refused where the browser says that it does not.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsr.page.access import Access
from vsr.page.address import NamesOfPage
from vsr.page.answers import refuse

__all__ = ["Guard"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# For everybody: how the daemon is, the way in, and the page's own look (which is no secret).
_OPEN_TO_ALL = frozenset({"/healthz", "/login"})
_LOOK = "/static/"
_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' blob:",  # the frames before and after, which come in one answer
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no text becomes markup, whatever the script does
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: it would make the Origin of the login form "null".
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: checks name, origin, form and token of a request in this order, then lets it pass."""

    def __init__(self, app: ASGIApp, names: NamesOfPage, access: Access) -> None:
        self._app = app
        self._names = names
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._choose(scope)(scope, receive, send_guarded)

    def _choose(self, scope: Scope) -> ASGIApp:
        """The application, or the refusal."""
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        if not self._names.has(headers.get("host", "")):
            return refuse(403, "the page is not served under this name", "vsr watch --host-name NAME adds one")
        if reason := _foreign(headers) if method not in _SAFE else _embedded(headers):
            return refuse(403, reason)
        if method not in _SAFE and path != "/login" and not _is_of_a_script(headers):
            return refuse(415, "this takes Content-Type: application/json, or a header X-VSR")
        if path in _OPEN_TO_ALL or path.startswith(_LOOK):
            return self._app
        if not self._access.admits(headers.get("authorization", ""), HTTPConnection(scope).cookies):
            if method == "GET" and path == "/":
                return RedirectResponse("/login", 303)
            return refuse(401, "this needs the token", "Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        return self._app


def _foreign(headers: Headers) -> str | None:
    """Why a request that changes something is none of our own page's; None: nothing speaks against it.

    Programs like curl send neither header. Browsers send Origin, and Sec-Fetch-Site too where the page is on loopback
    or encrypted.
    """
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "the request comes from another site"
    origin = headers.get("origin")
    if origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower():
        return "the request comes from another origin"
    return None


def _embedded(headers: Headers) -> str | None:
    """Why a request that changes nothing is none of our own page's. Links from other sites are followed; what they
    embed they could not read, but streams of events would hold our connections, and previews cost a worker's time."""
    is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    return "the request comes from another site" if is_foreign and headers.get("sec-fetch-dest") != "document" else None


def _is_of_a_script(headers: Headers) -> bool:
    """Whether the request is one that no form of another site can make a browser send."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or "x-vsr" in headers
