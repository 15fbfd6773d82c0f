"""What is refused at the door, on a page without a token: there only these checks stand before the orders."""

from __future__ import annotations

import pytest

from boards import BoardInMemory
from site_client import SiteClient


@pytest.mark.parametrize("path", ["/", "/api/state", "/healthz", "/metrics", "/events", "/static/page.js", "/login"])
def test_foreign_host(client: SiteClient, path: str):
    """DNS rebinding: the name of another site points at this machine."""
    assert client.get(path, headers={"Host": "evil.example:8787"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another program on this machine
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_orders_of_other_sites(client: SiteClient, board: BoardInMemory, headers: dict[str, str]):
    assert client.post("/api/pause", json={}, headers=headers).status_code == 403
    assert client.put("/api/uploads/a.mp4", content=b"x", headers={"X-VSR": "upload", **headers}).status_code == 403
    assert board.orders == []
    assert list(board.inbox.iterdir()) == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_other_sites_embed(client: SiteClient, site: str):
    """A picture, a script or a frame elsewhere with an address of ours; whereas a link may lead here."""
    for path in ("/", "/api/state", "/api/jobs/1/preview", "/events", "/static/page.js"):
        for kind in ("image", "script", "empty", "iframe"):
            assert client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": kind}).status_code == 403
    assert client.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "document"}).status_code == 200
    assert client.get("/", headers={"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_orders_in_the_form_of_a_form(client: SiteClient, board: BoardInMemory, kind: str):
    """What a form elsewhere could send, should a browser tell nothing of where it comes from."""
    assert client.post("/api/pause", content="{}", headers={"Content-Type": kind}).status_code == 415
    assert client.post("/api/pause").status_code == 415
    assert client.put("/api/uploads/a.mp4", content=b"x", headers={"Content-Type": kind}).status_code == 415
    assert board.orders == []
    assert list(board.inbox.iterdir()) == []


def test_orders_of_the_page_itself(client: SiteClient, board: BoardInMemory):
    headers = {"Origin": "http://127.0.0.1:8787", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/pause", json={}, headers=headers).status_code == 200
    assert client.post("/api/resume", content="", headers={"X-VSR": "curl"}).status_code == 200
    assert board.orders == [("pause", None), ("resume", None)]


def test_other_origins_get_no_permission(client: SiteClient):
    """A preflight, as a browser sends it before a request that no form can make."""
    answer = client.request(
        "OPTIONS", "/api/pause", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/", "/login", "/static/page.js", "/api/state", "/healthz", "/metrics", "/nothing"])
def test_every_answer_is_guarded(client: SiteClient, path: str):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/static/..%2fboard.py", "/static/../board.py", "/static/%2e%2e/board.py", "/static/board.py"]
)
def test_nothing_but_the_pages_own_files(client: SiteClient, path: str):
    assert client.get(path).status_code == 404
