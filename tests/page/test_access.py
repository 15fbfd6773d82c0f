from __future__ import annotations

from pathlib import Path

import pytest

from boards import BoardInMemory
from site_client import SiteClient
from vsr.errors import UsageError
from vsr.page.access import Access, read_token
from vsr.page.address import Address
from vsr.page.page import Page

TOKEN = "a-token-of-good-length"
LOOPBACK, NETWORK = Address("127.0.0.1", 0), Address("0.0.0.0", 0)


def test_token_of_a_file_goes_before_that_of_the_environment(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(file, {"VSR_TOKEN": "b" * 20}) == TOKEN
    assert read_token(None, {"VSR_TOKEN": "b" * 20}) == "b" * 20
    assert read_token(None, {}) is None


@pytest.mark.parametrize("token", ["", "short", "with a blank in its middle", "übergrößenträger"])
def test_weak_tokens_are_refused(tmp_path: Path, token: str):
    file = tmp_path / "token"
    file.write_text(token, encoding="utf-8")
    with pytest.raises(UsageError, match="16 or more"):
        read_token(file, {})


def test_token_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(tmp_path / "none", {})


def test_a_network_address_demands_a_token(board: BoardInMemory):
    with pytest.raises(UsageError, match="needs a token"):
        Page(NETWORK)


def test_without_a_token_everybody_is_admitted():
    assert Access(LOOPBACK, None).admits("", {})


def test_a_new_token_ends_old_sessions():
    name, _, value = Access(LOOPBACK, TOKEN).give_cookie().partition(";")[0].partition("=")
    assert Access(LOOPBACK, TOKEN).admits("", {name: value})
    assert not Access(LOOPBACK, "another-token-of-good-length").admits("", {name: value})
    assert TOKEN not in value


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"])
def test_wrong_tokens(shown: str):
    assert not Access(LOOPBACK, TOKEN).admits(shown, {})


@pytest.fixture
def guarded(board: BoardInMemory) -> SiteClient:
    return SiteClient(board, TOKEN)


@pytest.mark.parametrize("path", ["/api/state", "/metrics", "/events", "/api/jobs/1/preview", "/nothing"])
def test_everything_needs_the_token(guarded: SiteClient, path: str):
    answer = guarded.get(path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("path", ["/api/pause", "/api/jobs/1/cancel", "/logout", "/api/uploads"])
def test_orders_need_the_token(guarded: SiteClient, board: BoardInMemory, path: str):
    assert guarded.post(path, json={}).status_code == 401
    assert board.orders == []


def test_upload_needs_the_token(guarded: SiteClient, board: BoardInMemory):
    assert guarded.put("/api/uploads/a.mp4", content=b"film", headers={"X-VSR": "upload"}).status_code == 401
    assert list(board.inbox.iterdir()) == []


def test_health_and_look_are_for_everybody(guarded: SiteClient):
    assert guarded.get("/healthz").text == "ok\n"
    assert guarded.get("/static/page.css").status_code == 200


def test_bearer(guarded: SiteClient):
    assert guarded.get("/api/state", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_form_gives_a_cookie_and_signing_out_takes_it(guarded: SiteClient):
    assert guarded.get("/").headers["location"] == "/login"
    assert "<form" in guarded.get("/login").text
    done = guarded.post("/login", data={"token": TOKEN})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert "HttpOnly" in done.headers["set-cookie"]
    assert "SameSite=Strict" in done.headers["set-cookie"]
    assert guarded.get("/api/state").status_code == 200
    assert guarded.post("/logout", json={}).status_code == 204
    assert guarded.get("/api/state").status_code == 401


def test_form_with_a_wrong_token(guarded: SiteClient):
    answer = guarded.post("/login", data={"token": "guess"})
    assert answer.status_code == 403
    assert "not the token" in answer.text
    assert "set-cookie" not in answer.headers


def test_form_of_another_site(guarded: SiteClient):
    """Signing somebody in unasked is an attack too."""
    answer = guarded.post("/login", data={"token": TOKEN}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
