"""How large rooms, files and functions of this project get at most, as CONTRIBUTING.md says."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(ROOT)
    for room in ("model", "pipeline", "jobs", "benchmarks", "tools", "drills")
    for path in (ROOT / room).rglob("*.py")
)
MOST_FILES, MOST_LINES, MOST_LINES_OF_FUNCTION = 24, 350, 60


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each function's name and its lines without the docstring."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            documented = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
            yield node.name, node.end_lineno - node.lineno + 1 - documented


def test_rooms_can_be_looked_over():
    assert len(FILES) > 300
    counts = Counter(path.parent for path in FILES)
    assert {str(room): files for room, files in counts.items() if files > MOST_FILES} == {}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_can_be_read_at_once(path: Path):
    assert len((ROOT / path).read_text().splitlines()) <= MOST_LINES
    assert [name for name, lines in functions(path) if lines > MOST_LINES_OF_FUNCTION] == []


def test_the_rule_is_told_as_it_is():
    rule = (
        f"At most {MOST_FILES} files in a room, {MOST_LINES} lines in a file, {MOST_LINES_OF_FUNCTION} in a "
        "function"
    )
    assert rule in (ROOT / "CONTRIBUTING.md").read_text()
