from __future__ import annotations

import socket

import pytest

from vsr.errors import UsageError
from vsr.page.address import Address, names_of


@pytest.mark.parametrize(
    ("text", "address", "url"),
    [
        ("127.0.0.1:8787", Address("127.0.0.1", 8787), "http://127.0.0.1:8787/"),
        ("8787", Address("127.0.0.1", 8787), "http://127.0.0.1:8787/"),
        ("[::1]:80", Address("::1", 80), "http://[::1]:80/"),
        ("films.lan:8787", Address("films.lan", 8787), "http://films.lan:8787/"),
    ],
)
def test_forms(text: str, address: Address, url: str):
    assert Address.parse(text) == address
    assert address.url == url


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", "127.0.0.1:", ":8787", "::1:80", "a b:80", "host:99999", "http://a:80"]
)
def test_what_is_no_address(text: str):
    with pytest.raises(UsageError, match="no address"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("films.lan", False), ("localhost.example", False),
    ],
)  # fmt: skip
def test_loopback(host: str, is_loopback: bool):
    assert Address(host, 80).is_loopback is is_loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8787", "localhost:9999", "LOCALHOST", "[::1]:8787", "localhost.:80"]
)
def test_hosts_of_a_page_on_loopback(host: str):
    assert names_of(Address("127.0.0.1", 8787)).has(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8787", "127.0.0.1.evil.example", "192.168.1.5:8787", "localhost@evil.example",
     "[::1", "127.0.0.1:80:80"],
)  # fmt: skip
def test_foreign_hosts_of_a_page_on_loopback(host: str):
    assert not names_of(Address("127.0.0.1", 8787)).has(host)


def test_hosts_of_a_page_on_a_network():
    names = names_of(Address("0.0.0.0", 8787), ["Films.Example"])
    for host in ("192.168.1.5:8787", "[fe80::1]:8787", f"{socket.gethostname()}:8787", "films.example", "localhost"):
        assert names.has(host)
    assert not names.has("evil.example:8787")


def test_an_address_in_use_is_said():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(UsageError, match="in use"):
        Address("127.0.0.1", other.getsockname()[1]).bind()


def test_an_address_of_another_machine_is_said():
    with pytest.raises(UsageError, match="no page can be served"):
        Address("192.0.2.1", 0).bind()


@pytest.mark.parametrize("host", ["films..lan", ".", "x" * 70])
def test_a_name_that_can_be_none_is_said(host: str):
    with pytest.raises(UsageError, match="no page can be served"):
        Address.parse(f"{host}:0").bind()
