"""A page as one HTML file: no script, nothing from a network, and written whole or not at all."""

from functools import cache
from importlib.metadata import version
from itertools import count
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jobs.report.content import Page
from jobs.report.palette import COLOURS
from model.messages import printable
from pipeline.contract.result_files import write_result


def render_page(page: Page) -> str:
    """Return the page's HTML, the same whenever it is asked for."""
    numbers = count(1)
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            colours=COLOURS,
            next_name=lambda: f"plot-{next(numbers)}",
            version=version("fastbert-jobs"),
        )
    )


def write_page(directory: str, name: str, page: Page) -> str:
    """Write a page into a directory, which is made if it is not there, and return its path.

    Args:
        directory: here, or on any file system that Beam knows.
        name: of the file.
        page: what is written.

    Raises:
        OutputError: if it cannot be written.
    """
    content = render_page(page).encode()
    return write_result(directory, name, lambda file: file.write(content), mime_type="text/html")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("jobs.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Return what is put in a place of a template: text has nothing in it that does something."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
