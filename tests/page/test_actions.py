from __future__ import annotations

import pytest

from boards import BoardInMemory
from site_client import SiteClient


def test_state_is_the_snapshot(client: SiteClient, board: BoardInMemory):
    board.begin(board.add("a.mp4"))
    board.add("b.mp4")
    assert client.get("/api/state").json() == board.snapshot()


@pytest.mark.parametrize(
    ("state", "action", "becomes"),
    [("failed", "retry", "waiting"), ("waiting", "cancel", "cancelled"), ("waiting", "pause", "paused"),
     ("paused", "resume", "waiting")],
)  # fmt: skip
def test_orders_to_a_job(client: SiteClient, board: BoardInMemory, state: str, action: str, becomes: str):
    id = board.add("a.mp4", state)
    answer = client.post(f"/api/jobs/{id}/{action}", json={})
    assert (answer.status_code, answer.json()) == (200, {})
    assert board.orders == [(action, id)]
    assert board.state_of(id) == becomes


@pytest.mark.parametrize(("id", "before", "names"), [(3, 1, "cab"), (1, None, "bca"), (1, 3, "bac")])
def test_move(client: SiteClient, board: BoardInMemory, id: int, before: int | None, names: str):
    for name in "abc":
        board.add(name)
    assert client.post(f"/api/jobs/{id}/move", json={"before": before}).status_code == 200
    assert "".join(board.names_in_queue) == names


@pytest.mark.parametrize("before", ["1", True, -1, 1.0, 2**63, [1]])
def test_move_to_nowhere(client: SiteClient, board: BoardInMemory, before: object):
    id = board.add("a.mp4")
    assert client.post(f"/api/jobs/{id}/move", json={"before": before}).status_code == 400
    assert client.post(f"/api/jobs/{id}/move", json={}).status_code == 400
    assert board.orders == []


@pytest.mark.parametrize("body", ["[]", "nonsense", '"text"', "[" * 60_000, b"\xff\xfe"])
def test_orders_that_are_no_object(client: SiteClient, board: BoardInMemory, body: str | bytes):
    id = board.add("a.mp4")
    headers = {"Content-Type": "application/json"}
    assert client.post(f"/api/jobs/{id}/move", content=body, headers=headers).status_code == 400


def test_orders_that_are_too_long(client: SiteClient):
    headers = {"Content-Type": "application/json"}
    assert client.post("/api/jobs/1/move", content=b" " * 70_000, headers=headers).status_code == 413


def test_what_the_board_refuses_is_told_with_its_hint(client: SiteClient, board: BoardInMemory):
    id = board.add("a.mp4", "done")
    answer = client.post(f"/api/jobs/{id}/pause", json={})
    assert answer.status_code == 409
    assert answer.json() == {"error": "a.mp4 is done", "hint": "look at the queue"}


@pytest.mark.parametrize(
    "path", ["/api/jobs/a.mp4/retry", "/api/jobs/-1/retry", f"/api/jobs/{2**63}/retry", f"/api/jobs/{'9' * 5000}/retry",
     "/api/jobs/\u0661/retry", "/api/jobs/1/explode",
             "/api/jobs/..%2f..%2fetc/retry"]
)  # fmt: skip
def test_jobs_have_numbers_and_actions_names(client: SiteClient, board: BoardInMemory, path: str):
    assert client.post(path, json={}).status_code == 404
    assert board.orders == []


def test_reading_changes_nothing(client: SiteClient, board: BoardInMemory):
    id = board.add("a.mp4")
    for action in ("retry", "cancel", "pause", "resume", "move"):
        assert client.get(f"/api/jobs/{id}/{action}").status_code == 405
    assert client.get("/api/pause").status_code == 405
    assert board.orders == []
