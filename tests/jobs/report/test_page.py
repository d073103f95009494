import re
from html.parser import HTMLParser

import pytest

from jobs.report.content import ICONS, Banner, Figure, Figures, Page, Section, Verdict
from jobs.report.page import render_page, write_page
from jobs.report.plots.histograms import histograms
from model.errors import OutputError
from tests.jobs.report.browser import WIDTHS, look, needs_chromium, visit
from tests.jobs.report.sample_page import HOSTILE, SHOWN, sample_page


class Tags(HTMLParser):
    """The start tags of a page, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page():
    return sample_page()


@pytest.fixture(scope="module")
def html(page):
    return render_page(page)


def test_text_is_shown_as_text(html):
    tags = Tags(html)
    assert {tag for tag, _ in tags.tags} & {"script", "img", "iframe", "object", "form"} == set()
    assert SHOWN in html
    assert "<script>alert(1)</script>" in tags.text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", html)


def test_nothing_is_asked_for(html):
    tags = Tags(html).tags
    (policy,) = [attrs["content"] for tag, attrs in tags if attrs.get("http-equiv")]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    links = [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "href")]
    assert all(value.startswith(("#", "data:")) for value in links)
    assert "://" not in html


def test_ids_are_one_element_s_each_and_links_lead_somewhere(html):
    tags = Tags(html).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [attrs["href"][1:] for _, attrs in tags if attrs.get("href", "").startswith("#")]
    named += [attrs["aria-labelledby"] for tag, attrs in tags if tag == "svg"]
    named += re.findall(r"url\(#([^)]+)\)", html)
    assert {"plots", "tables-notes", "plot-1-title"} <= set(named) <= set(ids)


def test_no_colour_of_a_plot_is_for_light_or_dark_alone(html):
    svgs = "".join(re.findall("<svg.*?</svg>", html, re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}\b|rgb\(", svgs)
    assert {"currentColor", "var(--grid)", "var(--blue)", "var(--order-0)"} <= set(
        re.findall(r"currentColor|var\(--[a-z0-9-]+\)", svgs)
    )


def test_every_variable_has_a_value_in_light_and_in_dark(html):
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", html)) - {"--tone"}
    light, dark = html.split("@media screen and (prefers-color-scheme: dark)", 1)
    for part in (light, dark):
        assert {"--ink", "--grid", "--order-24"} <= set(re.findall(r"(--[a-z0-9-]+):", part))
    assert all(html.count(f"{name}:") == 2 for name in used)


def test_a_verdict_is_told_without_colours():
    page = Page(title="t", top=tuple(Banner(verdict=v, word=v.name, sentence="") for v in Verdict))
    text = Tags(render_page(page)).text
    assert len(set(ICONS.values())) == len(Verdict)
    assert all(ICONS[verdict] in text and verdict.name in text for verdict in Verdict)


def test_equal_pages_are_equal_bytes(html):
    assert render_page(sample_page()) == html


def test_a_plot_may_come_twice():
    figure = Figure(plot=histograms([0, 1], {"a": [1]}, x_label="x", description="d"), caption="")
    page = Page(title="t", sections=(Section(title="s", blocks=(Figures(figures=(figure, figure)),)),))
    ids = re.findall(r' id="([^"]+)"', render_page(page))
    assert len(ids) == len(set(ids)) > 2


def test_is_written_whole(tmp_path, page, html):
    directory = tmp_path / "new [1]*"
    path = write_page(str(directory), "page.html", page)
    assert path == str(directory / "page.html")
    assert [each.name for each in directory.iterdir()] == ["page.html"]
    assert (directory / "page.html").read_text(encoding="utf-8") == html


def test_what_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written: .*choose another `output`"):
        write_page(str(tmp_path / "file"), "page.html", Page(title=HOSTILE))


@pytest.fixture(scope="module")
def path(tmp_path_factory, html):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html, encoding="utf-8")
    return path


@needs_chromium
@pytest.mark.parametrize(
    ("is_dark", "background"), [(False, "rgb(255, 255, 255)"), (True, "rgb(20, 23, 27)")]
)
def test_fits_a_phone_and_a_desk(path, tmp_path, is_dark, background):
    screens = look(path, tmp_path, is_dark=is_dark)
    assert {width: (screen.beyond, screen.background) for width, screen in screens.items()} == {
        width: ([], background) for width in WIDTHS
    }


@needs_chromium
def test_opens_from_the_disk_in_silence(path, tmp_path):
    found = visit(path, tmp_path)
    assert (found.console, found.requests) == ([], [])
    assert found.picture.std() > 0.05


@needs_chromium
def test_what_is_wrong_would_be_seen(tmp_path, html):
    wrong = (
        "<img src='http://127.0.0.1:9/x.png'><div style='width: 2000px'>x</div>"
        "<script>console.error('woe')</script>"
    )
    path = tmp_path / "page.html"
    path.write_text(re.sub("<meta http-equiv[^>]*>", "", html.replace("<main>", f"<main>{wrong}")))
    found = visit(path, tmp_path)
    assert found.requests == ["http://127.0.0.1:9/x.png"]
    assert "woe" in "".join(found.console)
    assert any("2000px" in each for each in look(path, tmp_path, is_dark=False)[1200].beyond)
