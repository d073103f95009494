"""The tutorial's output blocks are filled from what the quickstart prints."""

import re

import pytest

from tools.tutorial import SHOW_ROWS, TUTORIAL, fill

STEPS = (
    "finetune --input a",
    "label-teacher --input b",
    "distill --labels c",
    "calibrate --model d",
    "score --speed 0",
    "audit quickstart/scores-speed-0 --labels-input e",
    "score --max-disagreement 0.01",
    "audit quickstart/scores-max-disagreement-0.01 --labels-input e",
)


@pytest.fixture
def filled() -> str:
    """The tutorial, filled from a quickstart whose steps print their own name."""
    steps = "".join(f"\n$ fastbert-jobs {step}\noutput of {step}  \n" for step in STEPS)
    return fill(
        TUTORIAL.read_text(encoding="utf-8"), f"gathering\n{steps}\nclosing \\1 table\n", "the rows\n"
    )


def block(text: str, name: str) -> str:
    (found,) = re.findall(rf"<!-- output of: {name} -->\n(.*?)<!-- /output -->", text, flags=re.DOTALL)
    return found


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("finetune", STEPS[0]),
        ("label-teacher", STEPS[1]),
        ("distill", STEPS[2]),
        ("calibrate", STEPS[3]),
        ("score", STEPS[6]),
        ("audit", STEPS[7]),
    ],
)
def test_a_block_holds_its_step(filled: str, name: str, step: str):
    assert block(filled, name).startswith(f"```text\n$ fastbert-jobs {step}\noutput of {step}\n")


def test_the_closing_table_ends_the_quickstart(filled: str):
    assert block(filled, "quickstart") == "```text\n$ fastbert-jobs quickstart\n...\nclosing \\1 table\n```\n"


def test_rows_are_shown_with_what_shows_them(filled: str):
    assert block(filled, "rows") == f"```text\n$ python -c '{SHOW_ROWS}'\nthe rows\n```\n"


def test_what_is_between_the_blocks_stays(filled: str):
    without = re.compile(r"<!-- output of: .+? -->\n.*?<!-- /output -->", flags=re.DOTALL)
    assert without.sub("", filled) == without.sub("", TUTORIAL.read_text(encoding="utf-8"))
