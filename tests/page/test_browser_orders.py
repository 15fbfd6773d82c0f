"""What the page can be told, in a real browser: clicks, keys, drags and drops; hostile names are only names."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import Page as Tab

from boards import BoardInMemory
from browsers import wait_until
from vsr.page.address import Address
from vsr.page.page import Page

HOSTILE = [
    "<img src=x onerror=document.title='taken'>.mp4",
    "<script>document.title='taken'</script>.mp4",
    "\"'><svg onload=document.title='taken'>.mp4",
    "javascript:document.title='taken'.mp4",
    "{{7*7}}${7*7}.mp4",
]


@pytest.fixture
def queue(board: BoardInMemory, tab: Tab) -> Locator:
    """Three films that wait."""
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        board.add(name)
    names = tab.locator("#queue .name")
    expect(names).to_have_text(["a.mp4", "b.mp4", "c.mp4"])
    return names


@pytest.mark.parametrize(
    ("film", "target", "order"), [("c.mp4", "a.mp4", "cab"), ("a.mp4", "c.mp4", "bca"), ("a.mp4", "b.mp4", "bac")]
)
def test_reorder_by_dragging(queue: Locator, tab: Tab, board: BoardInMemory, film: str, target: str, order: str):
    grip = tab.get_by_role("button", name=f"Move {film}: drag, or use the arrow keys").bounding_box()
    row = tab.locator("#queue .row", has_text=target).bounding_box()
    assert grip is not None
    assert row is not None
    x, end = grip["x"] + 5, row["y"] + row["height"] / 2
    tab.mouse.move(x, grip["y"] + 10)
    tab.mouse.down()
    tab.mouse.move(x, end, steps=8)
    board.change(disk_free=1)  # news meanwhile does not disturb
    tab.mouse.move(x, end + (8 if film < target else -8), steps=3)
    tab.mouse.up()
    expect(queue).to_have_text([f"{name}.mp4" for name in order])
    wait_until(lambda: board.names_in_queue == [f"{name}.mp4" for name in order])
    assert len(board.orders) == 1


def test_reorder_by_a_quick_hand(queue: Locator, tab: Tab, board: BoardInMemory):
    """One event for the whole way."""
    grip = tab.get_by_role("button", name="Move c.mp4: drag, or use the arrow keys").bounding_box()
    row = tab.locator("#queue .row", has_text="a.mp4").bounding_box()
    assert grip is not None
    assert row is not None
    tab.mouse.move(grip["x"] + 5, grip["y"] + 10)
    tab.mouse.down()
    tab.mouse.move(grip["x"] + 5, row["y"] + 2)
    tab.mouse.up()
    wait_until(lambda: board.names_in_queue == ["c.mp4", "a.mp4", "b.mp4"])


def test_reorder_by_keys(queue: Locator, tab: Tab, board: BoardInMemory):
    tab.get_by_role("button", name="Move c.mp4: drag, or use the arrow keys").focus()
    tab.keyboard.press("ArrowUp")
    expect(queue).to_have_text(["a.mp4", "c.mp4", "b.mp4"])
    expect(tab.locator("#announcer")).to_have_text("c.mp4 is now 2 of 3")
    tab.keyboard.press("Home")  # the focus has moved with the film
    expect(queue).to_have_text(["c.mp4", "a.mp4", "b.mp4"])
    tab.keyboard.press("End")
    expect(queue).to_have_text(["a.mp4", "b.mp4", "c.mp4"])


def test_reorder_by_buttons(queue: Locator, tab: Tab, board: BoardInMemory):
    up = tab.get_by_role("button", name="Move c.mp4 up")
    up.click()
    expect(queue).to_have_text(["a.mp4", "c.mp4", "b.mp4"])
    expect(up).to_be_focused()
    up.click()
    expect(queue).to_have_text(["c.mp4", "a.mp4", "b.mp4"])
    expect(up).to_be_focused()
    up.click(force=True)  # at the top: nothing
    tab.get_by_role("button", name="Move c.mp4 down").click()
    expect(queue).to_have_text(["a.mp4", "c.mp4", "b.mp4"])
    assert len(board.orders) == 3


def test_a_queue_longer_than_its_list(tab: Tab, board: BoardInMemory, monkeypatch: pytest.MonkeyPatch):
    """The end of the list is not the end of the queue: nothing is thrown behind all that is not shown."""
    whole = board.snapshot
    monkeypatch.setattr(board, "snapshot", lambda: whole() | {"queue": whole()["queue"][:3]})
    for name in "abcde":
        board.add(name)
    expect(tab.locator("#queue-more")).to_have_text("and 2 more")
    tab.get_by_role("button", name="Move a: drag, or use the arrow keys").press("End")
    expect(tab.locator("#queue .name")).to_have_text(["b", "a", "c"])


def test_orders(queue: Locator, tab: Tab, board: BoardInMemory):
    tab.get_by_role("button", name="Pause b.mp4").click()
    expect(tab.locator("#queue .paused .name")).to_have_text("b.mp4")
    tab.get_by_role("button", name="Resume b.mp4").click()
    expect(tab.locator("#queue .paused")).to_have_count(0)
    tab.get_by_role("button", name="Cancel b.mp4").click()
    expect(queue).to_have_text(["a.mp4", "c.mp4"])
    tab.get_by_role("button", name="Retry b.mp4").click()
    expect(queue).to_have_text(["a.mp4", "c.mp4", "b.mp4"])
    tab.get_by_role("button", name="Pause all").click()
    expect(tab.locator("#status")).to_have_text("Paused")
    tab.get_by_role("button", name="Resume", exact=True).click()
    expect(tab.locator("#status")).to_have_text("About to begin")
    assert [order[0] for order in board.orders] == ["pause", "resume", "cancel", "retry", "pause", "resume"]


def test_a_film_at_work_pauses_after_the_pictures_at_hand(tab: Tab, board: BoardInMemory):
    id = board.add("film.mp4")
    board.begin(id)
    tab.get_by_role("button", name="Pause film.mp4").click()
    expect(tab.locator(".film .left")).to_have_text("stops after the pictures at hand")
    expect(tab.get_by_role("button", name="Pause film.mp4")).to_be_hidden()
    expect(tab.locator("#queue .row")).to_have_count(0)  # not at two places at once
    expect(tab.locator("#queue-empty")).to_be_visible()
    board.set_aside(id)
    expect(tab.locator("#queue .paused .name")).to_have_text("film.mp4")
    expect(tab.locator(".film")).to_have_count(0)


def test_a_film_at_work_is_cancelled_by_two_clicks(tab: Tab, board: BoardInMemory):
    board.begin(board.add("film.mp4"))
    tab.get_by_role("button", name="Cancel").click()
    assert board.orders == []
    tab.get_by_role("button", name="Really cancel").click()
    expect(tab.locator("#history .cancelled .name")).to_have_text("film.mp4")
    assert board.orders == [("cancel", 1)]


def test_failures_say_why_and_are_retried(tab: Tab, board: BoardInMemory):
    id = board.add(
        "film.mp4", "failed", attempts=3, error="'film.mp4' is not a film", hint="look at it", ended=time.time()
    )
    row = tab.locator("#history .failed")
    expect(row.locator(".error")).to_have_text("'film.mp4' is not a film")
    expect(row.locator(".hint")).to_have_text("look at it")
    expect(row.locator(".sums")).to_have_text("failed after 3 attempts")
    tab.get_by_role("button", name="Retry film.mp4").click()
    expect(tab.locator("#queue .name")).to_have_text("film.mp4")
    assert board.state_of(id) == "waiting"


def test_what_will_be_tried_again_says_when(tab: Tab, board: BoardInMemory):
    board.add("film.mp4", error="the disk is full", not_before=time.time() + 300)
    expect(tab.locator("#queue .note")).to_have_text("tries again in 5 min: the disk is full")
    tab.get_by_role("button", name="Try film.mp4 now").click()
    expect(tab.locator("#queue .note")).to_be_hidden()
    expect(tab.get_by_role("button", name="Try film.mp4 now")).to_be_hidden()
    assert board.orders == [("retry", 1)]


MAKE_TRANSFER = """([name, size]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(size)], name));
    return transfer;
}"""


def drop(tab: Tab, name: str, size: int) -> None:
    """A file of that many zeros is dropped onto the page."""
    transfer = tab.evaluate_handle(MAKE_TRANSFER, [name, size])
    for event in ("dragenter", "dragover", "drop"):
        tab.dispatch_event("body", event, {"dataTransfer": transfer})


def test_a_film_is_dropped(tab: Tab, board: BoardInMemory):
    drop(tab, "new film.mp4", 3_000_000)
    expect(tab.locator("#uploads .note")).to_have_text("3.0 MB, taken")
    assert (board.inbox / "new film.mp4").stat().st_size == 3_000_000
    expect(tab.locator("#drop")).to_be_hidden()


def test_films_are_chosen(tab: Tab, board: BoardInMemory):
    files = [{"name": f"{name}.mp4", "mimeType": "video/mp4", "buffer": b"film"} for name in "ab"]
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Add films").click()
    chooser.value.set_files(files)
    wait_until(lambda: sorted(path.name for path in board.inbox.iterdir()) == ["a.mp4", "b.mp4"])


def test_hostile_names_are_only_names(tab: Tab, board: BoardInMemory):
    for name in HOSTILE:
        board.begin(board.add(name))
        board.add(name)
        board.add(name, "failed", error=name, hint=name, ended=0)
    for place in (".film .name", "#queue .name", "#history .name", "#history .error", "#history .hint"):
        expect(tab.locator(place)).to_have_text(HOSTILE)
    expect(tab).to_have_title(f"0 % {HOSTILE[0]} + {len(HOSTILE) - 1}")
    assert tab.locator("main img:not(.before, .after), main script").count() == 0
    names = [name for name in HOSTILE if "/" not in name]  # others can be those of sub-folders alone
    for name in names:
        drop(tab, name, 10)
    expect(tab.locator("#uploads .name")).to_have_text(names)
    wait_until(lambda: sorted(path.name for path in board.inbox.iterdir()) == sorted(names))


def test_names_are_read_as_they_are(tab: Tab, board: BoardInMemory):
    """The inbox is filled by others too, with signs in names that uploads must not have."""
    board.add("\u202egpj.exe.mp4")
    expect(tab.locator("#queue .name")).to_have_text("\ufffdgpj.exe.mp4")


def test_signing_in_and_out(browser: Browser, board: BoardInMemory):
    context = browser.new_context()
    tab = context.new_page()
    board.add("a.mp4")
    with Page(Address("127.0.0.1", 0), "a-token-of-good-length").serve(board) as url:
        tab.goto(url)
        tab.get_by_label("Token").fill("a guess")
        tab.get_by_role("button", name="Sign in").click()
        expect(tab.get_by_role("alert")).to_have_text("That is not the token.")
        tab.get_by_label("Token").fill("a-token-of-good-length")
        tab.get_by_role("button", name="Sign in").click()
        expect(tab.locator("#queue .name")).to_have_text("a.mp4")
        assert tab.evaluate("document.cookie") == ""  # out of a script's reach
        tab.get_by_role("button", name="Pause a.mp4").click()
        expect(tab.locator("#queue .paused")).to_have_count(1)
        tab.get_by_role("button", name="Sign out").click()
        expect(tab.get_by_label("Token")).to_be_visible()
        tab.goto(url)
        expect(tab.get_by_label("Token")).to_be_visible()
        context.close()


def test_refusals_are_told(browser: Browser, board: BoardInMemory):
    """Of an order and of an upload. The browser itself notes such answers as errors, hence a context of its own."""
    (board.inbox / "there.mp4").write_bytes(b"old")
    board.add("a.mp4")
    context = browser.new_context()
    with Page(Address("127.0.0.1", 0)).serve(board) as url:
        tab = context.new_page()
        tab.goto(url)
        expect(tab.locator("#queue .name")).to_have_text("a.mp4")
        board.lose(1)
        tab.get_by_role("button", name="Cancel a.mp4").click()
        expect(tab.locator("#notice")).to_contain_text("there is no job 1")
        drop(tab, "there.mp4", 10)
        expect(tab.locator("#uploads .failed .note")).to_have_text(
            "'there.mp4' is in the inbox already; rename one of the two"
        )
        tab.get_by_role("button", name="Close the message about there.mp4").click()
        expect(tab.locator("#uploads .row")).to_have_count(0)
        context.close()
    assert (board.inbox / "there.mp4").read_bytes() == b"old"
