"""What the page shows, in a real browser. Every test ends with a look at what the browser complained of: nothing."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import Page as Tab

from boards import BoardInMemory, plain_jpeg
from browsers import wait_until
from vsr.page.address import Address
from vsr.page.page import Page


def colors_along(element: Locator, shares: tuple[float, ...]) -> list[str]:
    """What is seen of a picture on its way from left to right, above the middle: "red" or "blue"."""
    picture = Image.open(io.BytesIO(element.screenshot())).convert("RGB")
    pixels = [picture.getpixel((int(share * picture.width), picture.height // 4)) for share in shares]
    return [
        "red" if pixel[0] > 200 > pixel[2] else "blue" if pixel[2] > 200 > pixel[0] else str(pixel) for pixel in pixels
    ]


@pytest.fixture
def stage(board: BoardInMemory, tab: Tab) -> Locator:
    """The picture of a film at work: red before, blue after, 4:3."""
    id = board.add("film.mp4")
    board.show(id, 61.5, plain_jpeg(40, 30, "red"), plain_jpeg(160, 120, "blue"))
    board.begin(id)
    expect(tab.locator(".split")).to_be_visible()
    return tab.locator(".stage")


def test_empty(tab: Tab):
    expect(tab.locator("#status")).to_have_text("Nothing to do")
    expect(tab.locator(".idle-title")).to_have_text("All quiet")
    expect(tab.locator("#queue-empty")).to_be_visible()
    expect(tab.locator("#history-empty")).to_be_visible()
    expect(tab).to_have_title("vsr")


def test_a_film_from_its_arrival_to_its_end(tab: Tab, board: BoardInMemory):
    id = board.add("reel 1/film.mp4")
    expect(tab.locator("#queue .name")).to_have_text("reel 1/film.mp4")
    board.begin(id, total=200, device="cuda:1")
    expect(tab.locator(".film .name")).to_have_text("reel 1/film.mp4")
    expect(tab.locator("#queue .row")).to_have_count(0)
    board.advance(id, done=85, fps=12.34, eta_seconds=600)
    expect(tab).to_have_title("42 % reel 1/film.mp4")
    expect(tab.locator(".percent")).to_have_text("42 %")
    expect(tab.locator(".rate")).to_have_text("12.3 frames/s")
    expect(tab.locator(".left")).to_have_text("about 10 min left")
    expect(tab.locator(".frames")).to_have_text("85 of 200")
    expect(tab.locator(".where")).to_have_text("cuda:1")
    expect(tab.locator(".film .cancel")).to_have_attribute("aria-label", "Cancel reel 1/film.mp4")
    expect(tab.get_by_role("progressbar")).to_have_attribute("aria-label", "Progress of reel 1/film.mp4")
    report = {"size_in": [320, 180], "size_out": [1280, 720], "frames_out": 200, "seconds": 16.0, "fps": 12.5}
    board.end(id, report=report, ended=time.time())
    expect(tab.locator("#history .done .name")).to_have_text("reel 1/film.mp4")
    expect(tab.locator("#history .sums")).to_have_text("320 × 180 to 1280 × 720 · 16 s · 12.5 frames/s")
    expect(tab.locator("#history time")).to_have_text("just now")
    expect(tab.locator("#history-count")).to_have_text("1 done")
    expect(tab).to_have_title("vsr")


def test_several_films(tab: Tab, board: BoardInMemory):
    for name in ("a.mp4", "b.mp4"):
        board.begin(board.add(name), total=None)
    board.advance(1, done=1234)
    expect(tab.locator(".film")).to_have_count(2)
    expect(tab.locator("#status")).to_have_text("2 films at work")
    expect(tab.locator(".percent").first).to_have_text("1,234")
    expect(tab).to_have_title("a.mp4 + 1")


def test_before_and_after(stage: Locator, tab: Tab):
    assert colors_along(stage, (0.1, 0.45, 0.55, 0.9)) == ["red", "red", "blue", "blue"]
    expect(tab.locator(".at")).to_have_text("1:01.5")
    box = stage.bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(4 / 3, rel=0.01)


def test_the_line_follows_the_mouse(stage: Locator, tab: Tab):
    box = stage.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50)
    tab.mouse.up()
    tab.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 50)  # let go: it stays
    assert colors_along(stage, (0.1, 0.3, 0.6)) == ["red", "blue", "blue"]


def test_the_line_follows_keys(stage: Locator, tab: Tab):
    slider = tab.get_by_role("slider")
    slider.focus()
    for _ in range(30):
        tab.keyboard.press("ArrowRight")
    assert colors_along(stage, (0.1, 0.75, 0.85)) == ["red", "red", "blue"]
    assert slider.get_attribute("aria-valuetext") == "80 % before"
    tab.keyboard.press("Home")
    assert colors_along(stage, (0.02, 0.5)) == ["blue", "blue"]


def test_the_line_follows_a_finger(board: BoardInMemory, open_tab: Callable[..., Tab]):
    board.show(board.add("film.mp4"), 1.0, plain_jpeg(40, 30, "red"), plain_jpeg(160, 120, "blue"))
    board.begin(1)
    tab = open_tab(has_touch=True, viewport={"width": 390, "height": 844})
    expect(tab.locator(".split")).to_be_visible()
    box = tab.locator(".stage").bounding_box()
    assert box is not None
    tab.touchscreen.tap(box["x"] + box["width"] * 0.8, box["y"] + 40)
    assert colors_along(tab.locator(".stage"), (0.1, 0.7, 0.9)) == ["red", "red", "blue"]


def test_pixels_are_shown_on_demand_and_remembered(stage: Locator, tab: Tab):
    before = tab.locator(".before")
    expect(before).to_have_css("image-rendering", "auto")
    tab.get_by_role("button", name="pixels").click()
    expect(before).to_have_css("image-rendering", "pixelated")
    tab.reload()
    expect(tab.locator(".split")).to_be_visible()
    expect(before).to_have_css("image-rendering", "pixelated")


def test_frames_follow_the_film(stage: Locator, tab: Tab, board: BoardInMemory):
    board.show(1, 62.0, plain_jpeg(40, 30, "blue"), plain_jpeg(160, 120, "red"))
    expect(tab.locator(".at")).to_have_text("1:02.0")
    assert colors_along(stage, (0.1, 0.9)) == ["blue", "red"]


def test_the_daemon_goes_and_comes_back(browser: Browser, board: BoardInMemory):
    """Without `tab`: a browser complains of every connection that is refused."""
    context = browser.new_context()
    tab = context.new_page()
    with Page(Address("127.0.0.1", 0)).serve(board) as url:
        tab.goto(url)
        board.add("a.mp4")
        expect(tab.locator("#queue .name")).to_have_text("a.mp4")
    expect(tab.locator("#banner")).to_contain_text("does not answer")
    expect(tab).to_have_title("not connected - vsr")
    expect(tab.locator("#queue .name")).to_have_text("a.mp4")
    tab.get_by_role("button", name="Cancel a.mp4").click()
    expect(tab.locator("#notice")).to_contain_text("Nothing was changed")
    board.add("b.mp4")
    with Page(Address.parse(urlsplit(url).netloc)).serve(board):
        expect(tab.locator("#queue .name")).to_have_text(["a.mp4", "b.mp4"], timeout=10_000)
        expect(tab.locator("#banner")).to_be_hidden()
        context.close()


def test_a_tab_that_nobody_sees_holds_no_connection(tab: Tab, board: BoardInMemory, served: httpx.Client):
    """Browsers have six to a host: with so many tabs, none could give an order or be opened."""

    def turn(state: str) -> None:
        tab.evaluate(
            """state => {
                Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            state,
        )

    def is_open(count: int) -> bool:
        return f"vsr_pages_open {count}\n" in served.get("/metrics").text

    wait_until(lambda: is_open(1))
    tab.clock.install()
    turn("hidden")
    tab.clock.fast_forward("01:01")
    wait_until(lambda: is_open(0))
    board.begin(board.add("film.mp4"))
    tab.clock.fast_forward("00:16")
    expect(tab).to_have_title("0 % film.mp4")
    assert is_open(0)
    turn("visible")
    wait_until(lambda: is_open(1))
    board.advance(1, done=50)
    expect(tab).to_have_title("50 % film.mp4")


def test_nothing_sticks_out(tab: Tab, board: BoardInMemory):
    name = "a" * 90 + " - a film with a name of length, and then some more of it.mp4"
    board.begin(board.add(name))
    for state in ("waiting", "paused", "failed", "cancelled"):
        board.add(name, state, error="e" * 200, hint="h" * 100)
    expect(tab.locator("#history .row")).to_have_count(2)
    for width in (320, 390, 768, 1280):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
        for button in tab.get_by_role("button").all():
            box = button.bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width
            assert min(box["width"], box["height"]) >= 24, button.get_attribute("aria-label")  # WCAG 2.2, target size


def test_what_is_the_same_stays_untouched(tab: Tab, board: BoardInMemory):
    """Long lists beside a film that goes on: else the browser, and who hears the page, would be busy with them."""
    board.begin(board.add("film.mp4"))
    for state in ("waiting", "paused", "done", "failed", "cancelled"):
        board.add(f"{state}.mp4", state, error="e", hint="h", ended=time.time())
    expect(tab.locator("#history .row")).to_have_count(3)
    expect(tab.locator("#queue .row")).to_have_count(2)
    tab.evaluate("""() => {
        window.changes = [];
        const observer = new MutationObserver((records) => window.changes.push(...records));
        const what = { subtree: true, childList: true, attributes: true, characterData: true };
        for (const id of ["queue", "history"]) observer.observe(document.getElementById(id), what);
    }""")
    board.advance(1, done=50)
    expect(tab.locator(".percent")).to_have_text("50 %")
    assert tab.evaluate("window.changes.length") == 0


def color_of(tab: Tab, name: str) -> str:
    """A colour of the style sheet as `#rrggbb`."""
    read = "name => getComputedStyle(document.body).getPropertyValue(name)"
    return re.sub(r"^#(.)(.)(.)$", r"#\1\1\2\2\3\3", tab.evaluate(read, f"--{name}").strip())


def luminance(color: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    values = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_can_be_read(tab: Tab):
    """Contrast of every pair of colours that text has: 4.5 and more (WCAG 2.2, AA)."""
    pairs = "text/ground text/surface quiet/ground quiet/surface quiet/stage accent/ground accent/soft bad/ground"
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        for pair in [*pairs.split(), "bad/bad-soft", "on-accent/accent", "surface/bad"]:
            dark, light = sorted(luminance(color_of(tab, name)) for name in pair.split("/"))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{pair} in {scheme}"


def test_everything_has_a_name(tab: Tab, board: BoardInMemory):
    board.begin(board.add("a.mp4"))
    board.add("b.mp4")
    board.add("c.mp4", "failed", ended=time.time())
    expect(tab.locator("#history .row")).to_have_count(1)
    names = [element.evaluate("e => e.ariaLabel || e.innerText") for element in tab.get_by_role("button").all()]
    assert len(names) > 8
    assert all(names)
