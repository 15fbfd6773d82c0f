from __future__ import annotations

import socket
import sys

import pytest

from vsr.errors import DeviceError, UsageError
from vsr.jobs.cluster import Cluster


def test_an_address_where_nobody_answers_is_known_at_once():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vsr[cluster]'")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(DeviceError, match=f"no cluster answers at '{address}'"):
            Cluster(address)
    with pytest.raises(UsageError, match="neither auto nor HOST:PORT"):
        Cluster("somewhere")


def test_without_ray_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as caught:
        Cluster()
    assert caught.value.hint == "pip install 'vsr[cluster]'"
