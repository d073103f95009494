"""Tables of what `run.py` measured, from its Parquet file alone."""

from typing import Any

from benchmarks.markdown import percent, table, times
from benchmarks.results import read_results
from model.guarantee.binomial import interval

_SHOWN = (0.005, 0.01, 0.02, 0.05)
# The disagreement that is told of.
_HEADLINE = 0.01
# In the tables' words: what the texts are, and what the model tells of them.
_DATASETS = {
    "clickbait-score": "clickbait titles: a score",
    "clickbait-side": "clickbait titles: its side of 0, two labels",
    "imdb-score": "sentences of IMDB: a score",
    "imdb-side": "sentences of IMDB: its side of 0, two labels",
    "words": "banking77: {labels} words of its labels, several at once",
    "packages": "Debian's packages: {labels} tags, several at once",
    "banking77": "banking77: {labels} labels",
    "languages": "{labels} languages",
}


def environment() -> str:
    """Return a sentence about the machine and the redraws."""
    _, found = read_results("answers")
    return (
        f"{found['cpu']}, {found['precision']}, MiniLM of 6 layers; {found['redraws']} redraws, medians on "
        f"fresh rows, {found['confidence']:.0%} confidence."
    )


def saved() -> str:
    """Return what promises of all texts save, one row per model and kind of answer."""
    rows, _ = read_results("answers")
    cells = []
    for row in rows[rows["spent_parts"].map(len) == 0].itertuples():
        at, place = _saved_at(row), list(row.shares).index(_HEADLINE)
        cells.append(
            (
                _texts(row),
                row.kind,
                f"{row.train_rows:,} and {row.calibration_rows:,}",
                f"{percent(row.agreement[0], 1)}, {percent(row.agreement[-1], 1)}",
                *(f"**{times(at[share])}**" if share == _HEADLINE else times(at[share]) for share in _SHOWN),
                percent(row.disagreement[place]),
            )
        )
    header = (
        "texts and model", "decided", "texts to train and calibrate with",
        "agreement of exit 0, of the last branch",
        *(f"saved compute at {percent(share, 1)}" for share in _SHOWN),
        f"at {percent(_HEADLINE, 1)}: disagreement on fresh texts",
    )  # fmt: skip
    return table(header, cells)


def checks() -> str:
    """Return in how many calibrations of a known population a promise was broken, and what was spent."""
    rows, found = read_results("answers")
    cells = [
        (
            _texts(row),
            row.kind,
            _share(row.broken, found["calibrations"]),
            percent(row.spent),
            ", ".join(map(percent, row.spent_parts)),
            f"{row.uncertified} of {found['calibrations']}",
            times(_saved_at(row)[_HEADLINE]),
        )
        for row in rows.itertuples()
    ]
    share, part = (percent(each, 0) for each in (found["checked"], found["checked"] * found["part_factor"]))
    header = (
        "texts and model", "decided", f"a promise of {share} broken, and 95 % interval", "disagreement, mean",
        f"of the part, promised {part}", "nothing certified",
        f"saved compute at A = {percent(_HEADLINE, 0)}, all calibration rows",
    )  # fmt: skip
    return table(header, cells)


def checks_data() -> str:
    """Return a sentence about the calibrations."""
    rows, found = read_results("answers")
    broken, calibrations = int(rows["broken"].sum()), len(rows) * found["calibrations"]
    return (
        f"{found['calibrations']} calibrations each, of {found['checked_rows']:,} rows drawn with "
        "replacement from all that training never saw, which are the population. Of all "
        f"{calibrations:,}, {_share(broken, calibrations)} broke what was promised."
    )


def _saved_at(row: Any) -> dict[float, float]:
    return dict(zip(row.shares, row.saved_compute, strict=True))


def _texts(row: Any) -> str:
    return _DATASETS[row.dataset].format(labels=row.labels)


def _share(count: int, total: int) -> str:
    low, high = interval(count, total, 0.95)
    return f"{percent(count / total, 1)} [{low * 100:.1f}, {high * 100:.1f}]"
