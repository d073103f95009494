"""Every column name and Arrow type of the data contract, spelt once.

Shards carry what made them as Arrow schema metadata under ``fastbert.*``; nothing in it depends on the
clock, the runner or the worker, so that equal jobs give equal bytes.
"""

from collections.abc import Sequence

import pyarrow as pa

SCHEMA_VERSION = 7
METADATA_PREFIX = "fastbert."

SOURCE = "source"
ROW = "row"
ID = "id"
TEXT = "text"
TEXT_PAIR = "text_pair"
TEXT_HASH = "text_hash"
UNIT_HASH = "unit_hash"
SPLIT = "split"
TEACHER_LOGITS = "teacher_logits"
# What a model answers; with TEACHER in front what the full one does.
TEACHER = "teacher_"
PREDICTION = "prediction"
PREDICTIONS = "predictions"
SCORE = "score"
DECISION = "decision"
DECISIONS = "decisions"
PROBABILITIES = "probabilities"
EXIT_LAYER = "exit_layer"
UNCERTAINTY = "uncertainty"
FIRST_UNCERTAINTY = "first_uncertainty"
NUM_TOKENS = "num_tokens"
NUM_UNKNOWN_TOKENS = "num_unknown_tokens"
TRUNCATED = "truncated"
REASON = "reason"
RAW_VALUE = "raw_value"
USED_FOR = "used_for"
EXIT_AGREES = "exit_agrees"
EXIT_UNCERTAINTY = "exit_uncertainty"
EXIT_LOGITS = "exit_logits"

# Names of texts and groups while rows are on their way; a kept column may be called `text`, so these differ.
INPUT_TEXT = "__text__"
INPUT_TEXT_PAIR = "__text_pair__"
GROUP = "__group__"

TRAIN_SPLIT = "train"
CALIBRATION_SPLIT = "calibration"

# Of the calibration rows: what thresholds are found with, and what tests them.
SEARCH = "search"
TEST = "test"

SOURCE_TYPE = pa.dictionary(pa.int32(), pa.string())
TEXT_HASH_BYTES = 16


def vector(num_labels: int) -> pa.DataType:
    """Return the type of one float32 value per label."""
    return pa.list_(pa.float32(), num_labels)


def provenance_fields(id_type: pa.DataType | None) -> list[pa.Field]:
    """Return the columns that say where a row came from: source, row and, where one was named, id."""
    fields = [
        pa.field(SOURCE, SOURCE_TYPE, nullable=False),
        pa.field(ROW, pa.int64(), nullable=False),
    ]
    if id_type is not None:
        fields.append(pa.field(ID, id_type))
    return fields


def score_schema(
    *,
    answer: Sequence[pa.Field],
    teacher: Sequence[pa.Field],
    id_type: pa.DataType | None = None,
    kept: Sequence[pa.Field] = (),
) -> pa.Schema:
    """Return the schema of a score shard.

    Args:
        answer: columns of the answer, see `pipeline.contract.answer_columns`.
        teacher: those of the full model's to rows of the shadow sample.
        id_type: type of the id column, None where the job has none.
        kept: input columns that are passed through, as in the input.
    """
    return pa.schema(
        [
            *provenance_fields(id_type),
            *answer,
            pa.field(EXIT_LAYER, pa.int16(), nullable=False),
            pa.field(UNCERTAINTY, pa.float32(), nullable=False),
            pa.field(NUM_TOKENS, pa.int32(), nullable=False),
            pa.field(NUM_UNKNOWN_TOKENS, pa.int32(), nullable=False),
            pa.field(TRUNCATED, pa.bool_(), nullable=False),
            *teacher,
            pa.field(FIRST_UNCERTAINTY, pa.float32()),
            pa.field(UNIT_HASH, pa.binary(TEXT_HASH_BYTES)),
            *kept,
        ]
    )


def label_schema(
    *,
    num_labels: int,
    answer: Sequence[pa.Field],
    id_type: pa.DataType | None = None,
    with_pair: bool,
    kept: Sequence[pa.Field] = (),
) -> pa.Schema:
    """Return the schema of a soft-label shard.

    Args:
        num_labels: width of the logit vectors.
        answer: columns of the teacher's answer.
        id_type: type of the id column, None where the job has none.
        with_pair: whether the texts are pairs.
        kept: input columns that are passed through, as in the input.
    """
    pair = [pa.field(TEXT_PAIR, pa.string(), nullable=False)] if with_pair else []
    return pa.schema(
        [
            *provenance_fields(id_type),
            pa.field(TEXT, pa.string(), nullable=False),
            *pair,
            pa.field(TEXT_HASH, pa.binary(TEXT_HASH_BYTES), nullable=False),
            pa.field(UNIT_HASH, pa.binary(TEXT_HASH_BYTES), nullable=False),
            pa.field(SPLIT, pa.string(), nullable=False),
            pa.field(TEACHER_LOGITS, vector(num_labels), nullable=False),
            *answer,
            pa.field(NUM_TOKENS, pa.int32(), nullable=False),
            pa.field(TRUNCATED, pa.bool_(), nullable=False),
            *kept,
        ]
    )


def calibration_schema(*, num_labels: int, num_outputs: int, num_exits: int) -> pa.Schema:
    """Return the schema of calibration rows; what is of every exit is a list, in the order of the exits.

    Args:
        num_labels: width of the teacher's logit vectors.
        num_outputs: width of the exits'.
        num_exits: the last layer's included.
    """
    return pa.schema(
        [
            *provenance_fields(None),
            pa.field(SPLIT, pa.string(), nullable=False),
            pa.field(USED_FOR, pa.string(), nullable=False),
            pa.field(NUM_TOKENS, pa.int32(), nullable=False),
            pa.field(NUM_UNKNOWN_TOKENS, pa.int32(), nullable=False),
            pa.field(TEACHER_LOGITS, vector(num_labels), nullable=False),
            pa.field(EXIT_AGREES, pa.list_(pa.bool_(), num_exits), nullable=False),
            pa.field(EXIT_UNCERTAINTY, pa.list_(pa.float32(), num_exits), nullable=False),
            pa.field(EXIT_LOGITS, pa.list_(vector(num_outputs), num_exits), nullable=False),
        ]
    )


def rejected_schema() -> pa.Schema:
    """Return the schema of a file of rejected rows; `raw_value` holds the value's exact bytes."""
    return pa.schema(
        [
            *provenance_fields(None),
            pa.field(REASON, pa.string(), nullable=False),
            pa.field(RAW_VALUE, pa.binary()),
        ]
    )
