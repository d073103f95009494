import pytest

from model.tokens.long.idle_runs import IdleRuns
from tests.model.tokens.tokenizers_of_every_kind import every_kind

KINDS = every_kind()
RUNS = {
    name: "fox" + run * 900 + "dog" for name, run in zip(("blanks", "lines", "nul"), " \n\0", strict=True)
}
RUNS |= {
    "letters": "a " + "xyé" * 400 + " b",
    "cut word": "fo" + "\u200b" * 900 + "x",
    "ideographs": "日" * 900,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RUNS)
def test_ids_stay_the_same(kind, name):
    short = IdleRuns(KINDS[kind]).shortened(RUNS[name])
    assert KINDS[kind](short)["input_ids"] == KINDS[kind](RUNS[name])["input_ids"]


@pytest.mark.parametrize(
    ("kind", "shortened"),
    [
        ("bert", {"blanks", "lines", "nul", "letters", "cut word"}),
        ("bert, cased", {"blanks", "lines", "nul", "letters", "cut word"}),
        ("camembert", {"blanks", "lines", "cut word"}),
        ("roberta", set()),
    ],
)
def test_runs_are_shortened_that_make_no_more_tokens(kind, shortened):
    runs = IdleRuns(KINDS[kind])
    assert {name for name, text in RUNS.items() if len(runs.shortened(text)) < len(text)} == shortened
