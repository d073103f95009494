"""Tables of what `run.py` measured, from its Parquet file alone."""

from benchmarks.markdown import percent, table, times
from benchmarks.results import read_results

_SHOWN = (0.005, 0.01, 0.02)
# In the order of `run.HELD_AGAINST`.
_NAMES = (
    "the teacher learnt from",
    "near copies of what branches learnt from",
    "new phrases and sentences",
    "new sentences",
    "dev sentences",
)


def kinds() -> str:
    """Return what the kinds of text are."""
    _, found = read_results("memory")
    cells = [
        (name, f"{texts:,}", f"{words:.1f}", percent(accuracy, 1))
        for name, texts, words, accuracy in zip(
            _NAMES, found["texts"], found["tokens"], found["accuracy"], strict=True
        )
    ]
    return table(("texts", "how many", "words", "the teacher is right on"), cells)


def promises() -> str:
    """Return what a promise leaves that was calibrated on each kind, on every kind."""
    rows, found = read_results("memory")
    names = dict(zip(found["kinds"], _NAMES, strict=True))
    cells = [
        (
            names[row.calibrated_on],
            percent(row.max_disagreement, 1),
            *(
                f"**{percent(share)}**" if broken > found["redraws"] / 4 else percent(share)
                for share, broken in zip(row.disagreement, row.broken, strict=True)
            ),
            times(row.saved_compute),
        )
        for row in rows.itertuples()
        if row.max_disagreement in _SHOWN
    ]
    held_against = (f"on {name}" for name in _NAMES)
    return table(("calibrated on texts", "at most", *held_against, "saved compute on new texts"), cells)
