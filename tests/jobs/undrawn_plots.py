"""Pages whose plots are left empty, for tests of something else: drawing is a third of a command."""

from collections.abc import Iterator
from typing import IO, Any
from unittest import mock

import pytest
from matplotlib.figure import Figure

EMPTY = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'


def _leave_empty(_: Figure, file: IO[bytes], **__: Any) -> None:
    file.write(EMPTY)


@pytest.fixture(autouse=True)
def undrawn_plots() -> Iterator[None]:
    """Have matplotlib draw nothing; the tests of `jobs.report` and of the quickstart have it draw."""
    with mock.patch.object(Figure, "savefig", _leave_empty):
        yield
