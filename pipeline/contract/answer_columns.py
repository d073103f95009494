"""Logits as the columns of `pipeline.contract.answer_fields`."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from model.answers.answer import answer_of
from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.exits.predictions import probabilities
from pipeline.contract import schema
from pipeline.contract.arrays import fixed_size_list, list_of_called, nullable_list


def answer_columns(
    logits: npt.NDArray[np.float32],
    rule: AnswerRule,
    labels: Sequence[str],
    *,
    prefix: str = "",
    unseen: npt.NDArray[np.bool_] | None = None,
) -> dict[str, pa.Array]:
    """Return the columns of some answers.

    Args:
        logits: (rows, num_outputs), or without the spread of a score.
        rule: which answers are the same.
        labels: of the model.
        prefix: of the columns' names.
        unseen: (rows,) bool, which of them are null; None for none.
    """
    names = pa.array(labels, pa.string())
    hidden = np.zeros(len(logits), dtype=np.bool_) if unseen is None else unseen
    columns: dict[str, pa.Array] = {}
    if rule.task is Task.SCORE:
        columns[schema.SCORE] = pa.array(logits[:, 0], mask=hidden)
    else:
        shares = probabilities(logits, rule.task)
        columns[schema.PROBABILITIES] = (
            fixed_size_list(shares) if unseen is None else nullable_list(shares, hidden)
        )
    if rule.task is Task.ONE_LABEL:
        columns[schema.PREDICTION] = names.take(pa.array(logits.argmax(axis=1), mask=hidden))
    if rule.task is Task.LABEL_SET or rule.cuts:
        calls = answer_of(rule, labels).calls(torch.from_numpy(logits)).numpy()
        if rule.task is Task.LABEL_SET:
            columns[schema.PREDICTIONS] = list_of_called(calls, names, hidden)
        elif len(rule.cuts) == 1:
            columns[schema.DECISION] = pa.array(calls[:, 0], mask=hidden)
        else:
            cuts = pa.array([str(cut) for cut in rule.cuts], pa.string())
            columns[schema.DECISIONS] = list_of_called(calls, cuts, hidden)
    return {prefix + name: column for name, column in columns.items()}
