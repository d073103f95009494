"""Answers read back from score shards: what each row is called, and whether full depth says the same."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.training.labelled_texts import NO_LABEL
from pipeline.contract import schema
from pipeline.contract.answer_fields import answer_names

# Places in the manifest's label names; `NO_LABEL` of rows without one.
LabelIds = npt.NDArray[np.int64]


def label_ids(names: pa.Array, labels: Sequence[str]) -> LabelIds:
    """Return each name's place among `labels`, NO_LABEL for null and unknown names."""
    found = pc.index_in(names, value_set=pa.array(labels, pa.string()), skip_nulls=True)
    ids: LabelIds = found.fill_null(NO_LABEL).to_numpy().astype(np.int64)
    return ids


def read_calls(
    batch: pa.RecordBatch, rule: AnswerRule, labels: Sequence[str], *, prefix: str = ""
) -> npt.NDArray[np.bool_]:
    """Return what each row is called, (rows, K), in the order of the answer's names.

    Args:
        batch: of a score shard; rows whose answer is null are called nothing.
        rule: of the job.
        labels: of the model.
        prefix: of the columns' names.
    """
    names = rule.names(labels)
    calls = np.zeros((len(batch), len(names)), dtype=np.bool_)
    if not names:
        return calls
    *_, column = answer_names(rule)
    values = batch[prefix + column]
    if column == schema.DECISION:
        calls[:, 0] = values.fill_null(False).to_numpy(zero_copy_only=False)
    elif column == schema.PREDICTION:
        ids = label_ids(values, names)
        known = np.flatnonzero(ids != NO_LABEL)
        calls[known, ids[known]] = True
    else:
        # Cuts are told with their values there, and labels are called by their names.
        told = [str(cut) for cut in rule.cuts] if column == schema.DECISIONS else names
        rows = pc.list_parent_indices(values).to_numpy()
        calls[rows, label_ids(pc.list_flatten(values), told)] = True
    return calls


def read_disagrees(
    batch: pa.RecordBatch,
    rule: AnswerRule,
    called: npt.NDArray[np.bool_],
    by_teacher: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Return which rows of the shadow sample were answered otherwise than full depth does, (rows,).

    Args:
        batch: of the sample alone.
        rule: of the job.
        called: (rows, K) from `read_calls`.
        by_teacher: the same of full depth.
    """
    if rule.task is Task.SCORE and not rule.cuts:
        own, full_depth = (
            # What full depth does not tell is NaN.
            batch[name].to_numpy(zero_copy_only=False)
            for name in (schema.SCORE, schema.TEACHER + schema.SCORE)
        )
        disagrees: npt.NDArray[np.bool_] = ~(np.abs(own - full_depth) <= np.float32(rule.tolerance or 0.0))
        return disagrees
    return np.asarray((called != by_teacher).any(axis=1))
