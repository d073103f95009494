"""The documents are true: tables are those of the measured numbers, links lead somewhere."""

import re
from pathlib import Path

import pytest

from benchmarks import markdown
from benchmarks.results import read_results
from benchmarks.rivals import report as rivals
from benchmarks.speed import report as speed
from tools.commands import COMMANDS, reference
from tools.finite_corpus import chance_above, stricter_share
from tools.performance import DOCUMENTS, TABLES, fill

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
RESULTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.parquet"))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_tables_are_those_of_the_parquet_files(page: Path):
    text = page.read_text(encoding="utf-8")
    assert fill(text) == text, "run `make performance`"


def test_options_are_those_of_the_command_line():
    assert reference() == COMMANDS.read_text(encoding="utf-8"), "run `make commands`"


def test_every_table_is_shown():
    shown = [name for page in DOCUMENTS for name in re.findall(r"<!-- table: ([^>]+?) -->", page.read_text())]
    assert set(shown) == set(TABLES)


def test_markers_are_closed():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- table: ") == text.count("<!-- /table -->"), page
        assert text.count("<!-- output of: ") == text.count("<!-- /output -->"), page


@pytest.mark.parametrize("name", RESULTS)
def test_measured_numbers_say_what_they_were_measured_on(name: str):
    rows, environment = read_results(name)
    assert len(rows)
    assert environment


def test_readme_says_where_openvino_is_ahead():
    """A table of numbers and the sentence beside it cannot tell two stories."""
    ahead = re.findall(r"= (\d\.\d\d)", speed.openvino())
    behind = sum(float(ratio) < 1 for ratio in ahead)
    assert f"OpenVINO is ahead at full depth in {behind} of {len(ahead)} cases" in speed.full_depth_ratios()
    assert "int8" in rivals.summary()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target}"


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in readme, page.name


def test_chances_of_a_finite_corpus():
    """The stricter share keeps its word, and a larger corpus comes nearer to the risk."""
    assert stricter_share(1_000) < stricter_share(100_000) < 0.01
    assert chance_above(2_000, 500) > chance_above(2_000, 20_000)


def test_markdown_table():
    assert markdown.table(("a", "b"), [("1", "2")]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1 | 2 |",
    ]
    assert (markdown.times(2.718), markdown.percent(0.0074), markdown.rate(95.4321)) == (
        "2.72x",
        "0.74 %",
        "95.43",
    )
