"""Labelled rows that are not trained on, drawn by hash, so that a classifier can be judged by them."""

from model.training.labelled_texts import LabelledTexts, names_of
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample, text_hashes

# A tenth, as is usual; of many rows no more than are needed to tell epochs apart, and none of so few that
# they would tell nothing.
_SHARE, _MOST_ROWS, _LEAST_ROWS_TO_SPLIT = 0.1, 5000, 200


def default_eval_fraction(num_rows: int) -> float:
    """Return which share of the rows a classifier is judged by, where the user does not say.

    >>> [default_eval_fraction(num_rows) for num_rows in (100, 200, 10_000, 1_000_000)]
    [0.0, 0.1, 0.1, 0.005]
    """
    return min(_SHARE, _MOST_ROWS / num_rows) if num_rows >= _LEAST_ROWS_TO_SPLIT else 0.0


def split_evaluation(rows: LabelledTexts, fraction: float) -> tuple[LabelledTexts, LabelledTexts | None]:
    """Part rows into those to train on and those to judge by, equal texts on one side.

    They are drawn as those are that `distill` holds out: what its branches are judged by, of the same
    texts, their teacher has then not been trained on either. Texts of a label that no other row to train on
    has are trained on.

    Args:
        rows: all of them.
        fraction: of the distinct texts that the classifier is judged by; 0 for none.

    Returns:
        Rows to train on, and rows to judge by; None where none were drawn.
    """
    hashes = text_hashes(rows.texts, rows.text_pairs)
    is_drawn = in_hash_sample(hashes, fraction, HashStream.HELD_OUT)
    drawn = {text_hash for text_hash, is_one in zip(hashes, is_drawn, strict=True) if is_one}
    named = list(zip(hashes, map(names_of, rows.labels), strict=True))
    known = {name for text_hash, names in named if text_hash not in drawn for name in names}
    drawn -= {text_hash for text_hash, names in named if not known.issuperset(names)}
    kept = [row for row, text_hash in enumerate(hashes) if text_hash not in drawn]
    others = [row for row, text_hash in enumerate(hashes) if text_hash in drawn]
    if not kept or not others:
        return rows, None
    return rows.take(kept, num_rejected=rows.num_rejected), rows.take(others)
