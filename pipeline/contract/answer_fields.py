"""The columns that hold answers: of a score shard, of its shadow sample, and of soft labels.

Which there are depends on what the model answers with, and on what is decided by it:

    one of several labels    prediction, probabilities
    several labels at once   predictions, probabilities
    a score                  score
    and by cuts, of the first and the last   decision; of several cuts decisions

Those of the full model have the same names after `teacher_`, and are null outside the shadow sample.
"""

import pyarrow as pa

from model.answers.rule import AnswerRule
from model.answers.task import Task
from pipeline.contract import schema

_OWN_FIELDS = {
    schema.PREDICTION: pa.string(),
    schema.PREDICTIONS: pa.list_(pa.string()),
    schema.SCORE: pa.float32(),
    schema.DECISION: pa.bool_(),
    schema.DECISIONS: pa.list_(pa.string()),
}
# Of whatever task: what no kept column may be called.
ALL_ANSWER_COLUMNS = frozenset(
    prefix + name for prefix in ("", schema.TEACHER) for name in (*_OWN_FIELDS, schema.PROBABILITIES)
)


def answer_names(rule: AnswerRule) -> tuple[str, ...]:
    """Return the columns of an answer, but for probabilities."""
    name = {
        Task.ONE_LABEL: schema.PREDICTION,
        Task.LABEL_SET: schema.PREDICTIONS,
        Task.SCORE: schema.SCORE,
    }[rule.task]
    if rule.task is Task.LABEL_SET or not rule.cuts:
        # Sets of labels are what their cuts decide.
        return (name,)
    return name, schema.DECISION if len(rule.cuts) == 1 else schema.DECISIONS


def answer_fields(rule: AnswerRule, num_labels: int) -> list[pa.Field]:
    """Return the columns of a row's answer.

    Args:
        rule: of the job.
        num_labels: width of the probability vectors.
    """
    name, *decided = answer_names(rule)
    fields = [pa.field(name, _OWN_FIELDS[name], nullable=False)]
    if rule.task is not Task.SCORE:
        fields.append(pa.field(schema.PROBABILITIES, schema.vector(num_labels), nullable=False))
    return [*fields, *(pa.field(each, _OWN_FIELDS[each], nullable=False) for each in decided)]


def teacher_fields(rule: AnswerRule) -> list[pa.Field]:
    """Return the columns of the full model's answer to rows of the shadow sample."""
    name, *decided = answer_names(rule)
    fields = [pa.field(schema.TEACHER + name, _OWN_FIELDS[name])]
    if rule.task is not Task.SCORE:
        # Not of fixed size: Arrow writes null fixed-size lists to Parquet but cannot read them back.
        fields.append(pa.field(schema.TEACHER + schema.PROBABILITIES, pa.list_(pa.float32())))
    return [*fields, *(pa.field(schema.TEACHER + each, _OWN_FIELDS[each]) for each in decided)]


def soft_label_field(task: Task) -> pa.Field:
    """Return the column of the full model's answer in a soft-label shard, beside its logits."""
    (name,) = answer_names(AnswerRule(task=task))
    return pa.field(schema.TEACHER + name, _OWN_FIELDS[name], nullable=False)
