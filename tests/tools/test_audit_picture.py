"""The picture of an audit's page shows its top, whole."""

from pathlib import Path

import numpy as np
from PIL import Image

from jobs.report.content import Banner, Note, Page, Section, Verdict
from jobs.report.page import write_page
from tests.jobs.report.browser import needs_chromium
from tools.audit_picture import WIDTH, cut_below, take_picture


def page(verdict: str = "It stands", *, first: str = "first", second: str = "second") -> Page:
    return Page(
        title="Audit",
        top=(Banner(verdict=Verdict.GOOD, word=verdict, sentence="So many of so many."),),
        sections=(
            Section(title="One", blocks=(Note(text=first),)),
            Section(title="Two", blocks=(Note(text=second),)),
        ),
    )


def pictured(directory: Path, shown: Page) -> np.ndarray:
    path = Path(write_page(str(directory), "audit.html", shown))
    take_picture(path, directory / "audit.png")
    with Image.open(directory / "audit.png") as picture:
        return np.asarray(picture.convert("RGB"))


@needs_chromium
def test_the_verdict_and_the_first_section_are_shown_and_nothing_below(tmp_path: Path):
    whole = pictured(tmp_path, page())
    assert whole.shape[1] == WIDTH
    np.testing.assert_array_equal(pictured(tmp_path, page(second="another " * 500)), whole)
    for other in (page(verdict="It is broken"), page(first="another")):
        changed = pictured(tmp_path, other)
        assert changed.shape == whole.shape
        assert (changed != whole).any()


def test_rows_without_anything_in_them_are_cut_off_below_alone():
    pixels = np.full((300, 50, 3), 255, dtype=np.uint8)
    pixels[100:110, 10:20] = 0
    cut = np.asarray(cut_below(Image.fromarray(pixels)))
    assert 110 < len(cut) < 150
    np.testing.assert_array_equal(cut, pixels[: len(cut)])
