"""The table of what `run.py` measured, from its Parquet file alone."""

from benchmarks.markdown import percent, table, times
from benchmarks.results import read_results

_SHOWN = (0.005, 0.01, 0.02, 0.05)
_NAMES = {"chnsenticorp": "ChnSentiCorp", "ag_news": "AG News"}


def weights() -> str:
    """Return what every weight gives."""
    rows, _ = read_results("true_labels")
    header = (
        "texts", "weight", "agreement of exit 0", "first", "middle", "last branch",
        "right at exit 0", "first", "middle", "last branch", "the full model",
        *(f"saved compute at {percent(share, 1)}" for share in _SHOWN),
    )  # fmt: skip
    return table(
        header,
        [
            (
                f"{_NAMES.get(row.dataset, row.dataset)}, {row.labels} labels",
                f"{row.weight:g}",
                *(percent(share, 1) for share in _ends(row.agreement)),
                *(percent(share, 1) for share in [*_ends(row.accuracy[:-1]), row.accuracy[-1]]),
                *(times(dict(zip(row.shares, row.saved_compute, strict=True))[share]) for share in _SHOWN),
            )
            for row in rows.itertuples()
        ],
    )


def _ends(shares: list[float]) -> list[float]:
    """Return those of exit 0, and of the first, the middle and the last branch."""
    lexical, *layers = shares
    return [lexical, layers[0], layers[len(layers) // 2], layers[-1]]
