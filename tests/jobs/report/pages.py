"""What stands where on a page."""

import re
from html import unescape

from jobs.report.content import Banner, Page, Section, Table
from jobs.report.plot import Plot


def banner(page: Page) -> Banner:
    """The verdict at the top."""
    (found,) = [block for block in page.top if isinstance(block, Banner)]
    return found


def section(page: Page, title: str) -> Section:
    """The section of a title."""
    (found,) = [each for each in page.sections if each.title == title]
    return found


def table(part: Section) -> Table:
    """The only table of a section."""
    (found,) = [block for block in part.blocks if isinstance(block, Table)]
    return found


def texts(plot: Plot) -> set[str]:
    """What is written in a plot."""
    return {unescape(text) for text in re.findall(r"<text[^>]*>(.*?)</text>", plot.svg("p"))}
