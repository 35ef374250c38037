"""The page in a real browser: what is drawn, what mouse and keys do. Skipped where there is no Chromium."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.predict import browser as browsers
from tests.predict.looks import LOST, TIMES

pytestmark = pytest.mark.usefixtures("unoptimized")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = browsers.find()
    if program is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    found = browsers.Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def talk(browser, made):
    browser.open(made.path("talk", ".html"))
    browser.ask("document.getElementById('timeline').scrollIntoView({block: 'start'})")
    return browser


def canvas(browser):
    """Left, top, width and height of the timelines in the window."""
    return browser.ask(
        "(() => { const b = document.getElementById('timeline').getBoundingClientRect(); "
        "return [b.left, b.top, b.width, b.height]; })()"
    )


def view(browser):
    return np.asarray(browser.ask("[mdhrPage.state.from, mdhrPage.state.to]"))


def x_of(browser, time):
    return canvas(browser)[0] + browser.ask(f"mdhrPage.toX({time})")


def said(browser):
    return browser.ask("document.getElementById('reading').textContent")


@pytest.mark.parametrize("name", ["talk", "still", "series", "nobody"])
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_open_without_complaint_network_or_overflow(browser, made, name, width):
    browser.open(made.path(name, ".html"), width=width)
    assert browser.complaints == []
    assert {address.split(":")[0] for address in browser.requests} == {"file", "data"}
    assert browser.ask("document.documentElement.scrollWidth") <= width
    # Everything shown is inside of the window, and every picture came.
    wide = "[...document.querySelectorAll('figure, canvas, #network, button, select, h1, p, dl')]"
    assert browser.ask(
        f"{wide}.every((e) => {{ const b = e.getBoundingClientRect(); return b.right <= {width} + 1; }})"
    )
    assert browser.ask(
        "[...document.querySelectorAll('img')].every((i) => !i.getAttribute('src') || i.naturalWidth > 0)"
    )
    assert browser.ask("document.getElementById('lines').hidden") == (name in ("still", "nobody"))


def test_what_is_drawn_is_the_table(talk, made):
    """The line of each AU is where its score is; hatched where there is no face."""
    left, top, _, _ = canvas(talk)
    with Image.open(io.BytesIO(_shot(talk))) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    talk.call("Page.bringToFront")
    table = made.table("talk")
    assert talk.ask("mdhrPage.faces[mdhrPage.state.face].id") == 0
    times = (np.asarray(TIMES) - TIMES[0]) / 1000
    for au, column in enumerate(("AU01_p", "AU12_p")):
        bottom = top + 12 + au * 46 + 32
        for row in table[(table.face_id == 0) & (table.frame > 1)].itertuples():
            x = round(x_of(talk, row.timestamp))
            y = bottom - 32 * getattr(row, column)
            # The line, or the mark of a key frame over it.
            around = pixels[round(y) - 2 : round(y) + 3, x - 1 : x + 2].min((0, 1))
            assert around.max() < 150, (column, row.frame)
        gap = round(x_of(talk, (times[LOST[0]] + times[LOST[1] + 1]) / 2))
        place = pixels[round(bottom) - 30 : round(bottom), gap - 3 : gap + 4]
        assert 0.1 < (np.abs(place - [185, 191, 199]).max(-1) < 25).mean() < 0.6
    assert left > 0


def _shot(browser):
    import base64

    return base64.b64decode(browser.call("Page.captureScreenshot")["data"])


def test_wheel_drag_and_double_click_zoom(talk):
    whole = view(talk)
    x, y = x_of(talk, 0.7), canvas(talk)[1] + 40
    talk.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    zoomed = view(talk)
    assert np.diff(zoomed) < 0.8 * np.diff(whole)
    # What the pointer is at stays where it is.
    assert x_of(talk, 0.7) == pytest.approx(x, abs=1)
    talk.mouse("mouseWheel", x, y, deltaX=0, deltaY=3000)
    np.testing.assert_allclose(view(talk), whole)
    start, end = x_of(talk, 0.3), x_of(talk, 0.9)
    talk.mouse("mousePressed", start, y)
    for place in np.linspace(start, end, 5):
        talk.mouse("mouseMoved", float(place), y, buttons=1)
    talk.mouse("mouseReleased", end, y)
    np.testing.assert_allclose(view(talk), [0.3, 0.9], atol=0.02)
    talk.mouse("mouseWheel", x, y, deltaX=80, deltaY=0)
    assert view(talk)[0] > 0.3
    for clicks in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            talk.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=clicks)
    np.testing.assert_allclose(view(talk), whole)


def test_the_pointer_reads_the_table(talk, made):
    table = made.table("talk")
    for frame in (2, 9):
        row = table[(table.frame == frame) & (table.face_id == 0)].iloc[0]
        for au, (name, column) in enumerate((("AU1 ", "AU01"), ("AU12 ", "AU12"))):
            talk.mouse("mouseMoved", x_of(talk, row.timestamp) + 2, canvas(talk)[1] + 12 + 46 * au + 16)
            text = said(talk)
            assert text.startswith(name)
            assert f"{row[f'{column}_p']:.3f}" in text
            assert ("present" in text) == bool(row[f"{column}_c"])
            assert f"frame {frame}, {row.timestamp:.3f} s" in text
            tip = talk.ask("document.getElementById('tip').textContent")
            assert f"{row[f'{column}_p']:.3f}" in tip
    middle = (TIMES[LOST[0]] - TIMES[0]) / 1000
    talk.mouse("mouseMoved", x_of(talk, middle) + 2, canvas(talk)[1] + 20)
    assert "no face" in said(talk)


def test_a_click_shows_the_nearest_key_frame(talk, made):
    table = made.table("talk")
    for time in (0.05, 1.3):
        for kind in ("mousePressed", "mouseReleased"):
            talk.mouse(kind, x_of(talk, time), canvas(talk)[1] + 30)
        shown = talk.ask("mdhrPage.data.moments[mdhrPage.state.moment]")
        times = talk.ask("mdhrPage.data.moments.filter((m) => m.face === 0).map((m) => m.time)")
        assert shown["time"] == min(times, key=lambda other: abs(other - time))
        assert f"frame {shown['frame']}" in talk.ask("document.getElementById('caption').textContent")
        assert talk.ask("document.getElementById('crop').src") == shown["crop"]
        words = talk.ask("document.getElementById('scores').innerText")
        row = table[(table.frame == shown["frame"]) & (table.face_id == 0)].iloc[0]
        assert f"{row.AU12_p:.2f}" in words
        pressed = talk.ask("document.querySelector('#strip [aria-pressed=true]').dataset.moment")
        assert int(pressed) == talk.ask("mdhrPage.state.moment")


def test_keys_do_what_the_mouse_does(talk):
    talk.ask("document.getElementById('timeline').focus()")
    talk.ask("mdhrPage.choose(0)")
    whole = view(talk)
    talk.key("ArrowRight")
    assert "frame 2," in said(talk)
    talk.key("ArrowDown")
    assert said(talk).startswith("AU12 ")
    talk.key("+")
    assert np.diff(view(talk)) == pytest.approx(np.diff(whole) / 2)
    before = view(talk)
    talk.key("PageDown")
    assert view(talk)[0] > before[0]
    talk.key("Home")
    np.testing.assert_allclose(view(talk), whole)
    for _ in range(20):
        talk.key("ArrowRight")
    assert f"frame {len(TIMES)}," in said(talk)
    talk.key("Enter")
    assert talk.ask("mdhrPage.data.moments[mdhrPage.state.moment].frame") >= len(TIMES) - 1


def test_another_person_has_another_timeline(talk, made):
    talk.ask(
        "(() => { const s = document.getElementById('face'); s.value = '1'; "
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert talk.ask("mdhrPage.data.moments[mdhrPage.state.moment].face") == 1
    assert "face 1" in talk.ask("document.getElementById('caption').textContent")
    row = made.table("talk")[lambda t: (t.face_id == 1) & (t.frame == 9)].iloc[0]
    talk.mouse("mouseMoved", x_of(talk, row.timestamp) + 2, canvas(talk)[1] + 20)
    assert f"{row.AU01_p:.3f}" in said(talk)
    talk.mouse("mouseMoved", x_of(talk, 0.0) + 2, canvas(talk)[1] + 20)
    assert "no face" in said(talk)


def test_maps_and_graph_are_of_the_key_frame(talk):
    for index in (0, 5):
        talk.ask(f"mdhrPage.choose({index})")
        shown = talk.ask("mdhrPage.data.moments[mdhrPage.state.moment]")
        weights = np.asarray(shown["weights"])
        titles = talk.ask(
            "[...document.querySelectorAll('#maps figure')].map((f) => "
            "[...f.querySelectorAll('title')].map((t) => Number(t.textContent)))"
        )
        np.testing.assert_allclose(np.asarray(titles), weights.reshape(len(weights), -1), atol=6e-4)
        attention = np.asarray(shown["attention"])
        edges = [(i, j) for i, j in np.argwhere(attention > 0) if i != j]
        assert talk.ask("document.querySelectorAll('#network .edge').length") == len(edges)
        cells = talk.ask("document.querySelectorAll('#attention tbody td').length")
        assert cells == attention.size


def test_a_page_can_be_printed(talk):
    assert talk.printed().startswith(b"%PDF")


def test_of_a_photograph_every_face_has_its_scores(browser, made):
    browser.open(made.path("still", ".html"))
    for row in made.table("still").itertuples():
        browser.ask(f"mdhrPage.chooseFace({row.face_id})")
        words = browser.ask("document.getElementById('scores').innerText")
        assert f"{row.AU01_p:.2f}" in words
        assert f"{row.AU12_p:.2f}" in words
    assert browser.ask("document.querySelectorAll('#boxes text').length") == 2


def test_of_nobody_it_says_so(browser, made):
    browser.open(made.path("nobody", ".html"))
    assert "no face" in browser.ask("document.getElementById('caption').textContent")
    words = browser.ask("document.querySelector('main').innerText")
    assert "No face was found" in words
    assert "Not shown: there is no face." in words
