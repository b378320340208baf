"""steps/serve.py as users have it: its page in a real headless Chromium, and many uploads at once."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest

from tests.conftest import speech_like
from tests.steps.serving.test_api import RATE, sound_of, three_hours


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Recordings and others, by name."""
    folder = tmp_path_factory.mktemp("files")
    contents = {
        "talk.wav": sound_of(speech_like(4 * RATE, 1)),
        "hm.flac": sound_of(speech_like(RATE // 4, 2), form="FLAC"),
        "call.wav": sound_of(np.stack([speech_like(2 * RATE, 1), speech_like(2 * RATE, 2)], 1)),
        "notes.txt": b"no sound " * 50,
        "hours.flac": three_hours(),
        "huge.wav": bytes(5 << 20),
        "tape.aiff": sound_of(speech_like(RATE, 3), form="AIFF"),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def show(browser, server):
    """Open the page; it may complain of nothing but refused uploads, and ask nobody but the server."""
    told, asked, pages = [], [], []

    def open_page(width=1000, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert [text for text in told if "status of 4" not in text] == []
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))} == {
        urlsplit(server.url).netloc
    }


def give(page, path, wait="#result:not([hidden])"):
    page.set_input_files("#file", path)
    page.wait_for_selector(wait, timeout=60_000)


def test_upload_verdict_plot_and_play(show, files, server):
    page = show()
    assert page.locator("#standing-caution").is_visible() and not page.locator("#result").is_visible()
    give(page, files / "talk.wav")
    said = httpx2.post(f"{server.url}/api/verdict", content=(files / "talk.wav").read_bytes(), timeout=60).json()
    heading = page.locator("#verdict").inner_text()
    assert said["headline"] in heading and f"{abs(said['llr']):.2f}" in heading
    assert page.locator("#explanation").inner_text() == said["explanation"]
    assert "no verdict of it is evidence" in page.locator("#caution").inner_text()
    # the plot, one picture of each window of interest, the table
    plot = page.locator("#plot svg")
    assert plot.bounding_box()["width"] > 900
    image = "one => { const box = one.getBBox(); return [box.width, box.height] }"
    assert min(plot.locator("image").evaluate(image)) > 100
    windows = len(said["windows"])
    assert plot.locator("circle.above, rect.below").count() == windows == page.locator("#rows tr").count() > 8
    pictures = page.locator("#pictures img")
    assert pictures.count() == len(said["looked_at"])
    assert all(pictures.evaluate_all("all => all.map(one => one.complete && one.naturalWidth === 64)"))
    # by pointer: a drag is a stretch, a click a window; and the stretch plays to its end
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    across = lambda share: box["x"] + 52 + share * (box["width"] - 64)
    page.mouse.move(across(0.25), box["y"] + 80)
    page.mouse.down()
    page.mouse.move(across(0.4), box["y"] + 80, steps=3)
    page.mouse.up()
    begin, end = float(page.input_value("#from")), float(page.input_value("#to"))
    assert begin == pytest.approx(1.0, abs=0.02) and end == pytest.approx(1.6, abs=0.02)
    page.mouse.click(across(0.99), box["y"] + 250)
    assert f"Window {windows} of {windows}" in page.locator("#chosen").inner_text()
    page.fill("#from", "1")
    page.fill("#to", "1.5")
    page.locator("#play").click()
    page.wait_for_function(
        "() => document.getElementById('audio').paused && document.getElementById('audio').currentTime > 1"
    )
    assert 1.45 < page.evaluate("document.getElementById('audio').currentTime") < 2.5
    assert page.locator("#play").inner_text() == "Play stretch"
    page.fill("#to", "0.5")
    page.locator("#to").blur()
    assert page.locator("#play").is_disabled() and "begins before it ends" in page.locator("#chosen").inner_text()


def made_up_answer(windows, lowest, **changes):
    """Of the API: windows: (begin, LLR); above 0 not below the threshold."""
    made = [
        {"begin": t, "end": t + 5, "score": llr, "llr": llr, "counts": abs(llr) < 20, "below": llr <= 0}
        for t, llr in windows
    ]
    below = [one for one in made if one["below"]]
    picture = {"png": PIXEL, "low_hz": 0.0, "high_hz": 8000.0, "says": "Spectrogram."}
    answer = {
        "channel": None, "verdict": "partial", "not_judged": None, "headline": "Partly spoof, 2 of 9 windows below the threshold: 0-1",
        "explanation": "Why.", "caution": None, "score": 0.0, "llr": 0.0, "threshold": 0.0, "seconds": made[-1]["end"], "notes": [],
        "below_threshold": {"windows": len(below), "of": len(made), "stretches": below, "in_words": ""}, "windows": made,
        "lowest": [made[i] for i in lowest], "spectrogram": picture, "looked_at": [],
        "spoofed_stretches": None, "frame_threshold": None,
    }  # fmt: skip
    return answer | changes


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
COVERED = """svg => {
  const box = (one) => { const r = one.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] };
  const meet = ([a, b, c, d], [e, f, g, h]) => a < g - 0.5 && e < c - 0.5 && b < h - 0.5 && f < d - 0.5;
  const texts = [...svg.querySelectorAll("text")];
  const marks = [...svg.querySelectorAll("circle, rect.below, path.above, path.below, path.plain, .span, .threshold, .bar, .axis, image")];
  const found = [];
  texts.forEach((text, i) => {
    for (const mark of marks) if (meet(box(text), box(mark))) found.push(`${text.textContent} on ${mark.outerHTML}`);
    for (const other of texts.slice(i + 1)) if (meet(box(text), box(other))) found.push(`${text.textContent} on ${other.textContent}`);
  });
  return found }"""


LAYOUTS = {
    "overlapping neighbours, lowest at both ends": ([(2.5 * i, 4.0 if i % 3 else -0.2) for i in range(8)], [0, 3, 6]),
    "far beyond dev": ([(2.5 * i, (9.0, 9.0, 9.0, -0.01, 30.0, -30.0)[i]) for i in range(6)], [3, 0, 2]),
    "all at the threshold": ([(2.5 * i, 0.01 if i % 2 else -0.01) for i in range(9)], [8, 6, 0]),
    "narrow, side by side": ([(2.5 * i, -0.5 if 300 < i < 304 else 2.0) for i in range(700)], [301, 303, 302]),
    "narrow, at the end": ([(2.5 * i, -3.0 if i > 1090 else 2.0) for i in range(1100)], [1099, 1097, 1091]),
}


def test_no_label_covers_a_mark_or_a_label(show, files):
    page = show()
    page.route("**/api/verdict*", lambda route: route.fulfill(json=answer))
    for name, (windows, lowest) in LAYOUTS.items():
        answer = made_up_answer(windows, lowest, headline=name)
        page.set_viewport_size({"width": 1000, "height": 800})
        page.evaluate("document.getElementById('file').value = ''")
        give(page, files / "hm.flac", f"#verdict:has-text('{name}')")
        assert page.locator("#plot svg").evaluate(COVERED) == [], name
        page.set_viewport_size({"width": 360, "height": 800})
        page.wait_for_function("() => document.querySelector('#plot svg').viewBox.baseVal.width < 400")
        assert page.locator("#plot svg").evaluate(COVERED) == [], name
        # the lowest windows first
        scores = [float(text.replace("−", "-")) for text in page.locator("#rows td:nth-child(3)").all_text_contents()]
        assert scores == sorted(scores) and len(scores) == len(windows)


# begin, end, lowest score of a frame
SPOOFED = {
    "none": (20, []),
    "one at each end": (20, [(0.0, 0.4, -1.0), (19.6, 20.0, -2.0)]),
    "side by side": (20, [(t, t + 0.5, -t) for t in range(0, 20, 1)]),
    "all of it": (20, [(0.0, 20.0, -123.456)]),
    "half an hour": (1800, [(t, t + 3, -(t % 7) / 3) for t in range(0, 1797, 9)]),
}


def of_frames(name):
    seconds, spoofed = SPOOFED[name]
    windows = [(2.5 * i, -0.5 if i % 5 == 3 else 1.0) for i in range(int((seconds - 5) / 2.5) + 1)]
    stretches = [{"begin": b, "end": e, "score": score} for b, e, score in spoofed]
    return made_up_answer(windows, [3], headline=name, spoofed_stretches=stretches, frame_threshold=0.25)


def test_spoofed_stretches_are_bars_and_rows(show, files):
    """With times and scores, in the colour of what is taken for spoof and of nothing else."""
    page = show()
    page.route("**/api/verdict*", lambda route: route.fulfill(json=answer))
    for width, scheme in ((1280, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        for name, (_, spoofed) in SPOOFED.items():
            answer = of_frames(name)
            page.evaluate("document.getElementById('file').value = ''")
            give(page, files / "hm.flac", f"#verdict:has-text('{name}')")
            page.wait_for_function(
                "width => document.querySelector('#plot svg').viewBox.baseVal.width < width", arg=width
            )
            assert page.evaluate("document.documentElement.scrollWidth") == width
            plot = page.locator("#plot svg")
            assert plot.evaluate(COVERED) == [], (name, width)
            assert plot.locator(".bar").count() == len(spoofed) == page.locator("#spoofed-rows tr").count()
            assert page.locator("#spoofed").is_visible() == bool(spoofed)
            assert f"{len(spoofed) or 'no'} spoofed stretch" in plot.locator(".name").first.text_content()
            if not spoofed:
                continue
            cells = [
                text.replace("−", "-")
                for text in page.locator("#spoofed-rows tr").first.locator("th, td").all_text_contents()
            ]
            begin, end, lowest = spoofed[0]
            assert cells == [
                f"{begin:.2f}",
                f"{end:.2f}",
                f"{lowest:+.2f}".replace("-0.00", "0.00").replace("+0.00", "0.00"),
                "Play",
            ]
            assert "threshold of +0.25" in page.locator("#spoofed-says").inner_text()
            labels = plot.locator(".spoofed").all_text_contents()
            assert 0 < len(labels) <= len(spoofed) and (len(spoofed) > 5 or width < 400 or len(labels) == len(spoofed))
            least = min(score for *_, score in spoofed)
            assert any(label.endswith(f": −{-least:.2f}") for label in labels)
            assert min(page.locator("#plot text, #spoofed p, #spoofed th, #spoofed td").evaluate_all(CONTRAST)) > 4.5
            colours = "all => [...new Set(all.map(one => getComputedStyle(one).fill || getComputedStyle(one).color))]"
            assert plot.locator(".bar, rect.below").evaluate_all(colours) == [
                page.locator("#spoofed .key").evaluate("one => getComputedStyle(one).color")
            ]


def test_a_spoofed_stretch_is_chosen_by_its_bar_and_played_by_its_row(show, files):
    page = show()
    answer = of_frames("one at each end")
    page.route("**/api/verdict*", lambda route: route.fulfill(json=answer))
    give(page, files / "talk.wav")
    chosen = page.locator("#chosen")
    assert chosen.inner_text() == "Spoofed stretch 2 of 2: 19.6 to 20.0 s, lowest score −2.00"  # the lowest
    page.locator("#plot .bar").first.click()
    assert chosen.inner_text() == "Spoofed stretch 1 of 2: 0.0 to 0.4 s, lowest score −1.00"
    page.locator("#plot .bar").nth(1).click()
    assert "stretch 2 of 2" in chosen.inner_text()
    page.locator("#spoofed-rows button").first.click()
    assert "stretch 1 of 2" in chosen.inner_text()
    page.wait_for_function(
        "() => document.getElementById('audio').paused && document.getElementById('audio').currentTime > 0.3"
    )
    assert page.evaluate("document.getElementById('audio').currentTime") < 1.5
    box = page.locator("#plot svg").bounding_box()  # beside the bars, a click takes a window
    page.mouse.click(box["x"] + box["width"] / 2, page.locator("#plot .bar").first.bounding_box()["y"] + 3)
    assert "Window " in chosen.inner_text()
    assert (
        'img "Spectrogram. Under it 2 spoofed stretches. Under them the LLR of 7 windows'
        in page.locator("body").aria_snapshot()
    )


def test_a_call_side_by_side(show, files, server):
    def said(channels):
        return httpx2.post(
            f"{server.url}/api/verdict?channels={channels}", content=(files / "call.wav").read_bytes(), timeout=60
        ).json()

    page = show()
    give(page, files / "call.wav")
    assert "channels mixed" in page.locator("#of").inner_text() and not page.locator("#sides").is_visible()
    page.select_option("#channels", "each")
    page.wait_for_selector("#sides button")
    for side, answer in enumerate(said("each")):
        button = page.locator("#sides button").nth(side)
        assert button.inner_text() == f"Channel {side}: {answer['headline']}"
        button.click()
        assert button.get_attribute("aria-pressed") == "true" and f"channel {side}" in page.locator("#of").inner_text()
        assert answer["headline"] in page.locator("#verdict").inner_text()
    page.locator("#sides button").nth(0).click()
    page.select_option("#channels", "1")
    page.wait_for_selector("#of:has-text('channel 1')")
    assert said(1)["headline"] in page.locator("#verdict").inner_text() and not page.locator("#sides").is_visible()


def test_what_is_not_judged_has_no_colours(show, files):
    page = show()
    answer = made_up_answer([(0, 1.0), (2.5, -1.0), (5, 2.0)], [1], verdict=None, not_judged="nothing below 70 Hz",
                            headline="No verdict", below_threshold=None)  # fmt: skip
    for window in answer["windows"]:
        window["below"] = None
    page.route("**/api/verdict*", lambda route: route.fulfill(json=answer))
    give(page, files / "hm.flac")
    assert page.locator("#plot .above, #plot .below").count() == 0 and page.locator("#plot circle.plain").count() == 3
    assert set(page.locator("#rows td:last-child").all_text_contents()) == {""}
    assert page.locator("#plot .bar").count() == 0 and not page.locator("#spoofed").is_visible()


def test_errors_are_told_and_the_next_file_is_scored(show, files):
    page = show()
    for name, words in (
        ("notes.txt", "no sound that can be read here"),
        ("hours.flac", "3 h long; recordings of up to 30 min"),
        ("huge.wav", "5.0 MiB; up to 4 MiB are taken"),
    ):
        give(page, files / name, f"#error p:has-text('{words}')")
        assert not page.locator("#result").is_visible() and not page.locator("#cancel").is_visible()
    assert page.locator("#error").get_attribute("role") == "alert"
    give(page, files / "tape.aiff")
    assert page.locator("#error").inner_text() == ""
    page.wait_for_selector("#unplayable:not([hidden])")  # Chromium does not know the format
    assert page.locator("#play").is_disabled()
    give(page, files / "hm.flac")
    assert not page.locator("#unplayable").is_visible() and page.locator("#play").is_enabled()
    assert not page.locator("#step").is_visible()  # there is one window


def test_by_keyboard_and_ear(show, files):
    page = show()
    # from the beginning: interception that starts just before the key is pressed can miss it
    page.on("filechooser", lambda chooser: chooser.set_files(files / "talk.wav"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    order = []
    for _ in range(2):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == ["file", "record"]
    page.locator("#file").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    assert page.evaluate("document.activeElement.id") == "verdict"
    heard = page.locator("[role=status]").inner_text()
    assert page.locator("#explanation").inner_text() in heard and "LLR" in heard
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order == ["window", "from", "to", "play"]
    page.locator("#window").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert "Window 2 of" in page.locator("#chosen").inner_text()
    assert "LLR" in page.locator("#window").get_attribute("aria-valuetext")
    page.locator("#play").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('audio').currentTime > 0.1")
    # names of everything, as a screen reader has them
    tree = page.locator("body").aria_snapshot()
    for line in (
        'button "Record"',
        'slider "Window"',
        'spinbutton "From, s"',
        'img "Spectrogram of 4 s',
        'heading "Give a recording" [level=2]',
    ):
        assert line in tree, tree
    assert re.search(r'button "Choose a file|button "A file, which may also be dropped here', tree)
    assert page.eval_on_selector_all("img", "all => all.filter(one => !one.alt).length") == 0
    ids = page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))


CONTRAST = """all => all.map(one => {
  const part = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(v => {
    v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 });
  const light = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  let under = one;
  while (getComputedStyle(under).backgroundColor === "rgba(0, 0, 0, 0)") under = under.parentElement;
  const own = getComputedStyle(one), of = one instanceof SVGElement ? own.fill : own.color;
  const [a, b] = [light(part(of)), light(part(getComputedStyle(under).backgroundColor))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05) })"""


def test_light_dark_and_narrow(show, files):
    shots = {}
    for scheme, width in (("light", 1000), ("dark", 360)):
        page = show(width, scheme)
        give(page, files / "talk.wav")
        page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        texts = page.locator(
            "p:visible, h1, h2:visible, h3, dt, dd, label:visible, button:visible, #verdict span, td, th, #plot text,"
            " figcaption span, .ends span"
        )
        assert texts.count() > 40 and min(texts.evaluate_all(CONTRAST)) > 4.5
        shots[scheme] = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('#plot"
            " text')).fill]"
        )
        page.goto(page.url + "api")
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert all(light != dark for light, dark in zip(shots["light"], shots["dark"]))


def test_recording(show):
    page = show()
    page.locator("#record").click()
    page.wait_for_selector("#recording:not([hidden])")
    assert page.locator("#record").inner_text() == "Stop and score"
    page.wait_for_function("() => parseInt(document.getElementById('elapsed').textContent) >= 1")
    page.locator("#record").click()
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    assert "your recording" in page.locator("#of").inner_text()
    page.wait_for_function("() => document.getElementById('audio').duration > 0.9")
    page.locator("#record").click()
    page.locator("#discard").click()
    assert page.locator("#status").inner_text() == "Discarded." and not page.locator("#recording").is_visible()

    def with_a_lower_limit(route):
        body = re.sub(r'(?<=data-max-bytes=")\d+', "160000", route.fetch().text())
        route.fulfill(body=body, content_type="text/html")

    page.route(page.url, with_a_lower_limit)
    page.reload()
    page.locator("#record").click()  # it ends by itself before it is too large to be sent
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    assert page.locator("#error").inner_text() == ""


def test_fifty_uploads_at_once_are_all_answered(server, files):
    sounds = [sound_of(speech_like(RATE // 2, i)) for i in range(5)]
    with httpx2.Client(timeout=300, limits=httpx2.Limits(max_connections=60)) as client, ThreadPoolExecutor(50) as pool:
        alone = [client.post(f"{server.url}/api/verdict?pictures=false", content=sound).json() for sound in sounds]
        ask = lambda i: client.post(f"{server.url}/api/verdict?pictures=false", content=sounds[i % 5])
        answers = list(pool.map(ask, range(50)))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert [answer.json() for answer in answers] == [alone[i % 5] for i in range(50)]  # each got its own
    assert len({one["score"] for one in alone}) == 5


def test_a_huge_upload_is_answered_and_nothing_is_kept(server):
    answer = httpx2.post(f"{server.url}/api/verdict", content=(bytes(1 << 20) for _ in range(40)), timeout=60)
    assert answer.status_code == 413 and "4 MiB" in answer.json()["detail"]
    assert httpx2.get(f"{server.url}/api/model", timeout=60).json()["limits"]["max_mib"] == 4.0
    assert list(server.temporary.iterdir()) == []  # where it runs, and where temporary files would lie
    assert server.said.read_text() == ""
