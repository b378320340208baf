"""The page that steps/report.py writes, in a real headless Chromium."""

import importlib.util
import json
import re
import shutil
from types import SimpleNamespace

import pytest

from tests.conftest import ROOT
from tests.in_process import call
from utils.files import sha256_of

SECTIONS = ("summary", "attacks", "histograms", "coverage", "curves", "heads", "embedding", "grad_cam", "reproduce")


def load_program():
    spec = importlib.util.spec_from_file_location("report_program", ROOT / "steps/report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(made, out, *options):
    return call(load_program().main, "report.py", "--data-dir", made.data, "--out", out, *options, *made.experiments)


@pytest.fixture(scope="session")
def la_page(la):
    out = la.root / "report.html"
    done = make(la, out, "--command", "./run.sh --tag '<i>'")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def pa_page(pa):
    out = pa.root / "report.html"
    done = make(pa, out)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(path=out, stderr=done.stderr)


@pytest.fixture
def show(browser):
    """Open a page; what it says on the console and asks the network for is looked at in the end."""
    told, asked, pages = [], [], []

    def open_page(path, width=1280, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        pages.append((page, path))
        return page

    yield open_page
    wanted = {path.as_uri() for _, path in pages}
    for page, _ in pages:
        page.close()
    assert told == []
    assert {url for url in asked if not url.startswith("data:")} == wanted


def test_each_plot_is_there(la_page, show):
    page = show(la_page)
    assert page.eval_on_selector_all("main > section", "all => all.map(one => one.id)") == list(SECTIONS)
    assert page.locator(".note", has_text="Left out").count() == 0
    expected = {"summary": 1, "attacks": 1, "histograms": 2, "curves": 2, "heads": 1, "embedding": 2, "grad_cam": 8}
    for section, least in expected.items():
        boxes = [svg.bounding_box() for svg in page.locator(f"#{section} figure svg").all()]
        assert len(boxes) == least, section
        assert all(box["width"] > 200 and box["height"] > 100 for box in boxes), section
    # something is drawn: lines, points, pictures
    assert page.locator("#summary svg path").count() > 10
    assert page.locator("#embedding .series use").count() == 2 * 36
    assert page.locator("#grad_cam svg image").count() == 8 * 2
    sizes = "all => all.map(one => [one.getBBox().width, one.href.baseVal.slice(0, 15)])"
    assert all(width > 100 and uri == "data:image/webp" for width, uri in page.eval_on_selector_all("svg image", sizes))


def test_the_audio_can_be_played(la_page, show):
    page = show(la_page)
    lengths = page.evaluate(
        """() => Promise.all([...document.querySelectorAll("audio")].map(one => new Promise((resolve, reject) => {
             if (one.duration) resolve(one.duration);
             one.onloadedmetadata = () => resolve(one.duration);
             one.onerror = () => reject(one.error.message);
        })))"""
    )
    assert len(lengths) == 4
    assert all(0.4 < seconds < 1.1 for seconds in lengths)


def test_a_reader_who_cannot_see_it(la_page, show):
    page = show(la_page)
    labels = page.eval_on_selector_all("figure svg", "all => all.map(one => one.getAttribute('aria-label'))")
    assert all("mini corpus 1 (small)" in label for label in labels)
    ids = page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))
    lost = "all => all.filter(one => !document.getElementById(one.getAttribute('href').slice(1))).length"
    assert page.eval_on_selector_all("nav a, .skip", lost) == 0
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.eval_on_selector_all("table", "all => all.filter(one => !one.caption).length") == 0


def test_all_tables_and_plots_name_the_corpus(la_page, show):
    page = show(la_page)
    assert "mini corpus 1 (small)" in page.locator("header").inner_text()
    for section in SECTIONS[:-1]:
        captions = page.locator(f"#{section} caption").all_text_contents()
        assert all("mini corpus 1 (small)" in caption for caption in captions)
        texts = page.eval_on_selector_all(f"#{section} figure svg", "all => all.map(one => one.textContent)")
        assert all("mini corpus 1 (small)" in text for text in texts)


def test_tables_sort_both_ways_by_mouse_and_keys(la_page, show):
    page = show(la_page)
    table = page.locator("#summary table").first
    column = "one => [...one.tBodies[0].rows].map(row => row.cells[2].textContent.trim())"
    heading, button = table.locator("thead th").nth(2), table.locator("thead button").nth(2)
    assert button.inner_text() == "EER %"
    means = [float(text.split()[0]) for text in table.evaluate(column)]
    assert len(set(means)) == 2
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text.split()[0]) for text in table.evaluate(column)] == sorted(means)
    button.focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text.split()[0]) for text in table.evaluate(column)] == sorted(means, reverse=True)
    table.locator("thead button").nth(1).click()  # by words
    assert heading.get_attribute("aria-sort") is None
    names = "one => [...one.tBodies[0].rows].map(row => row.cells[1].textContent.trim())"
    assert table.evaluate(names) == ["baseline", "self_distill"]


def test_rows_without_a_figure_stay_last(la_page, show):
    page = show(la_page)
    table = page.locator("#summary table").first
    table.evaluate(
        "one => { one.tBodies[0].rows[0].cells[2].textContent = '-'; delete"
        " one.tBodies[0].rows[0].cells[2].dataset.sort }"
    )
    last = "one => [...one.tBodies[0].rows].at(-1).cells[2].textContent"
    for _ in range(2):
        table.locator("thead button").nth(2).click()
        assert table.evaluate(last) == "-"


def test_dark_mode(la_page, show):
    colours = {}
    for scheme in ("light", "dark"):
        page = show(la_page, scheme=scheme)
        colours[scheme] = page.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor,
                      getComputedStyle(document.querySelector("#summary svg text")).fill,
                      getComputedStyle(document.querySelector("#summary svg path[style*='--c1']")).stroke]"""
        )
    brightness = {s: [sum(map(int, re.findall(r"\d+", c)[:3])) for c in cs] for s, cs in colours.items()}
    assert brightness["light"][0] > 700 > 150 > brightness["dark"][0]
    assert brightness["light"][1] < 150 and brightness["dark"][1] > 600
    assert colours["light"][2] != colours["dark"][2]


def test_the_page_begins_with_the_result_and_its_figure(la_page, show):
    page = show(la_page)
    kinds = page.eval_on_selector_all("#summary > *", "all => all.map(one => one.className || one.tagName)")
    assert kinds[:3] == ["H2", "headline", "figures large"]
    headline = page.locator(".headline").inner_text()
    assert re.match(r"self_distill [\d.]+ % against baseline [\d.]+ % EER on eval \(ecanet9\): difference", headline)
    folded = page.locator("#summary > details > summary").all_inner_texts()
    assert folded[0] == "95 % intervals by trial and by speaker" and "EER on dev" in folded[-1]


def test_a_colour_is_of_a_method_or_of_a_class_of_trials(la_page, show):
    page = show(la_page)
    methods = set(re.findall(r"--c\d", page.inner_html("#summary") + page.inner_html("#curves")))
    classes = set(
        re.findall(r"--c\d|--bonafide|--spoof\d", page.inner_html("#histograms") + page.inner_html("#embedding"))
    )
    assert methods == {"--c1", "--c2"} and classes == {"--bonafide", "--spoof1", "--spoof2"}


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_the_page_never_scrolls_sideways(la_page, pa_page, show, width):
    for path in (la_page, pa_page.path):
        page = show(path, width)
        page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        if width == 1280:  # nor does a table or a line of code within it
            wide = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.ariaLabel)"
            assert page.eval_on_selector_all("#summary .scroll", wide) == []
    if width == 390:
        size = "parseFloat(getComputedStyle(one).fontSize) * Math.hypot(one.getCTM().a, one.getCTM().b)"
        sizes = f"all => all.map(one => {size})"
        assert min(show(la_page, width).eval_on_selector_all("#summary figure svg text", sizes)) > 7.5
    if width == 360:  # wide tables do, in their own box, by keys too
        box = page.locator("#environments .scroll").first
        assert box.evaluate("one => one.scrollWidth > one.clientWidth && one.tabIndex === 0")


def test_the_legend_brings_classes_out(la_page, show):
    page = show(la_page)
    button = page.locator(".legend button", has_text="A07")
    opacity = "all => all.map(one => getComputedStyle(one).opacity)"
    others = '#embedding .series:not([data-series="A07"])'
    assert set(page.eval_on_selector_all("#embedding .series", opacity)) == {"1"}
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.eval_on_selector_all('#embedding .series[data-series="A07"]', opacity) == ["1", "1"]
    assert set(page.eval_on_selector_all(others, opacity)) == {"0.1"}
    button.click()
    assert set(page.eval_on_selector_all(others, opacity)) == {"1"}


def test_names_are_shown_as_they_are(la_page, show):
    page = show(la_page)
    assert page.locator("main b, main i").count() == 0
    assert "A07 vocoder <b>bold</b> & $cheap$" in page.locator(".legend").inner_text()
    assert "./run.sh --tag '<i>'" in page.locator("#reproduce pre").first.inner_text()


def test_heat_maps_and_what_is_left_out(pa_page, show):
    page = show(pa_page.path)
    tables = page.locator("#environments table")
    assert tables.count() == 3  # of each method, and their difference; single rooms have too few trials
    cells = tables.first.locator("td").all()
    assert len(cells) == 9 * 9
    colours = tables.first.locator("td").evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    assert len(set(colours)) > 4
    contrast = """all => all.map(one => {
      const part = (name) => getComputedStyle(one)[name].match(/\\d+/g).slice(0, 3).map(v => {
        v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 });
      const light = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
      const [a, b] = [light(part("color")), light(part("backgroundColor"))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) })"""
    assert min(page.locator("#environments td").evaluate_all(contrast)) > 4.5
    for section, why in (("embedding", "wav.scp"), ("grad_cam", "wav.scp"), ("heads", "--heads true")):
        assert why in page.locator(f"#{section} .note").inner_text()
    assert "no threshold is carried over" in page.locator("#histograms").inner_text()
    assert "WARNING: left out of the report: Grad-CAM" in pa_page.stderr


def test_same_inputs_same_page(pa, pa_page):
    before = pa_page.path.read_bytes()
    pa_page.path.unlink()
    assert make(pa, pa_page.path).returncode == 0
    assert pa_page.path.read_bytes() == before
    stamp = pa_page.path.stat().st_mtime_ns
    assert "made from these very inputs already" in make(pa, pa_page.path).stdout
    assert pa_page.path.stat().st_mtime_ns == stamp


def test_a_changed_input_is_noticed(pa):
    program, out = load_program(), pa.root / "report.html"
    experiments = program.read_experiments(pa.experiments)
    digest = program.digest_of(experiments, pa.data, "said")
    assert program.digest_of(experiments, pa.data, "said") == digest != program.digest_of(experiments, pa.data, "other")
    scores = pa.experiments[0] / "seed1/scores/eval.txt"
    text = scores.read_text()
    try:
        scores.write_text(text.replace("PA_0001", "PA_9999"))
        assert program.digest_of(experiments, pa.data, "said") != digest
    finally:
        scores.write_text(text)
    assert not program.is_made_of(out, digest)
    assert not program.is_made_of(pa.root / "none.html", digest)


def test_wrong_calls(pa, tmp_path):
    done = make(pa, tmp_path / "x.html", "--set", "dev")
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "--set dev: not evaluated; there are results of eval" in done.stderr
    done = call(load_program().main, "report.py", tmp_path)
    assert done.returncode == 1 and "no folder seed<N>" in done.stderr


def test_two_experiments_of_one_name_are_refused(pa, tmp_path):
    shutil.copytree(pa.experiments[0], tmp_path / pa.experiments[0].name)
    twice = [pa.experiments[0], tmp_path / pa.experiments[0].name]
    done = call(load_program().main, "report.py", "--out", tmp_path / "x.html", *twice)
    assert done.returncode == 1 and "have one name" in done.stderr
    assert not (tmp_path / "x.html").exists()


def test_of_other_data_dirs_nothing_is_looked_into(la, pa, tmp_path):
    data = tmp_path / "data/eval"
    data.mkdir(parents=True)
    (data / "wav.scp").write_text("someone_else x.flac\n")
    (data / "utt2attack").write_text("someone_else -\n")
    done = call(
        load_program().main, "report.py", "--data-dir", tmp_path / "data", "--out", tmp_path / "x.html", *la.experiments
    )
    assert done.returncode == 0
    assert done.stderr.count("wav.scp: no line of eval_") == 2
    assert "is --data-dir that of these trainings?" in (tmp_path / "x.html").read_text()


def test_a_stress_test_s_sentences_are_repeated(la, tmp_path):
    program = load_program()
    experiments = program.read_experiments(la.experiments)
    digest = program.digest_of(experiments, tmp_path, "said")
    stress = la.experiments[0].parent / "stress/stress.json"
    stress.parent.mkdir()
    weights = sha256_of(la.experiments[0] / "seed1/final.pt")
    found = {"detectors": [{"sha256": weights, "experiment": "a"}], "headlines": {"a": "worst: GSM <8 kHz>."}}
    stress.write_text(json.dumps(found))
    try:
        assert program.digest_of(experiments, tmp_path, "said") != digest
        skipped = ["--skip", "embedding", "--skip", "grad_cam"]
        out = tmp_path / "x.html"
        done = call(program.main, "report.py", "--data-dir", la.data, "--out", out, *skipped, *la.experiments)
        assert done.returncode == 0
        page = out.read_text()
        assert "Manipulated files" in page and "baseline: worst: GSM &lt;8 kHz&gt;." in page
        assert page.count("worst: ") == 1  # nothing of the other experiment, whose weights were not tested
    finally:
        shutil.rmtree(stress.parent)


def test_skipped_sections_take_no_time(pa, tmp_path):
    done = make(pa, tmp_path / "x.html", "--skip", "embedding", "--skip", "grad_cam")
    assert done.returncode == 0 and "WARNING" not in done.stderr and "8/8 section" in done.stderr
    text = (tmp_path / "x.html").read_text()
    assert 'id="summary"' in text and 'id="grad_cam"' not in text
