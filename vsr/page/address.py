"""Where the page is served, and under which names browsers may ask for it."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from vsr.errors import UsageError

__all__ = ["Address", "host_of", "names_of"]

_FORM = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):)?(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """A host (a name or an IP address, without brackets) and a port (0: any that is free)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`127.0.0.1:8787`, `[::1]:8787`, `films.lan:8787`, or the port alone for 127.0.0.1.

        Raises:
            UsageError: `text` has none of these forms.
        """
        found = _FORM.fullmatch(text)
        if found is None or int(found["port"]) > 65535:
            raise UsageError(f"{text!r} is no address to serve a page at", hint="--serve HOST:PORT, as 127.0.0.1:8787")
        return cls((found["host"] or "127.0.0.1").strip("[]"), int(found["port"]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it. Of names only "localhost" is believed."""
        return _is_loopback(self.host)

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def bind(self) -> socket.socket:
        """A socket that listens there.

        Raises:
            UsageError: the address is in use, not of this machine, or not allowed to this user.
        """
        host = "127.0.0.1" if self.host.lower() == "localhost" else self.host
        try:
            family = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            return socket.create_server((host, self.port), family=family, backlog=128)
        except (OSError, UnicodeError) as exc:  # the latter of a name that no name server can be asked for, as "a..b"
            reason = getattr(exc, "strerror", None) or str(exc)
            raise UsageError(f"no page can be served at {self.url}: {reason}", hint="give another --serve") from exc


def host_of(header: str) -> str:
    """The host of a Host header, or of what follows `//` in an Origin: lower case, without port and brackets."""
    host = re.sub(r":\d*$", "", header.strip().lower())
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host.rstrip(".")


def names_of(address: Address, names: Iterable[str] = ()) -> NamesOfPage:
    """The names of a page served at `address`; `names` are more of them, as a proxy or a router gives."""
    known = {"localhost", address.host.lower(), *map(str.lower, names)}
    if not address.is_loopback:
        own = socket.gethostname().lower()
        known |= {own, f"{own}.local"}  # not getfqdn, which may ask a name server that is away
    return NamesOfPage(frozenset(known), any_address=not address.is_loopback)


@dataclass(frozen=True, slots=True)
class NamesOfPage:
    """The hosts under which the page is asked for.

    A page elsewhere can let its own name point here (DNS rebinding) and would then be of the same origin as ours, but
    for the Host header, which still has that name. An IP address cannot be made to point elsewhere.
    """

    known: frozenset[str]
    any_address: bool

    def has(self, header: str) -> bool:
        """Whether a Host header has one of them; ports are not looked at, since tunnels change them."""
        host = host_of(header)
        if host in self.known or _is_loopback(host):
            return True
        return self.any_address and _is_ip(host)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)
