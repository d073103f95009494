from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.answers.rule import AnswerRule
from model.answers.task import Task
from pipeline.contract import schema
from pipeline.contract.answer_fields import answer_fields, soft_label_field, teacher_fields

RULE = AnswerRule(task=Task.ONE_LABEL)
LABEL = {"num_labels": 3, "answer": [soft_label_field(Task.ONE_LABEL)]}
ANSWER = {"answer": answer_fields(RULE, 3), "teacher": teacher_fields(RULE)}
KEPT = (pa.field("text", pa.string()), pa.field("tags", pa.list_(pa.int8())))
SCHEMAS = {
    "scores": schema.score_schema(**ANSWER, id_type=pa.int64(), kept=KEPT),
    "scores without id": schema.score_schema(**ANSWER),
    "labels": schema.label_schema(**LABEL, id_type=pa.string(), with_pair=True),
    "labels of single texts": schema.label_schema(**LABEL, with_pair=False),
    "rejected": schema.rejected_schema(),
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_file_of_no_rows_keeps_its_schema(tmp_path: Path, kind: str):
    pq.write_table(SCHEMAS[kind].empty_table(), tmp_path / "a.parquet")
    assert pq.read_schema(tmp_path / "a.parquet").equals(SCHEMAS[kind])
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_row_says_where_it_came_from(kind: str):
    names = SCHEMAS[kind].names
    assert names[:2] == ["source", "row"]
    assert len(set(names)) == len(names)
    assert not SCHEMAS[kind].field("source").nullable
    assert not SCHEMAS[kind].field("row").nullable


def test_the_columns_of_the_contract():
    assert schema.score_schema(**ANSWER, id_type=pa.int8(), kept=KEPT).names == [
        "source", "row", "id", "prediction", "probabilities", "exit_layer", "uncertainty", "num_tokens",
        "num_unknown_tokens", "truncated", "teacher_prediction", "teacher_probabilities", "first_uncertainty",
        "unit_hash", "text", "tags",
    ]  # fmt: skip
    assert schema.label_schema(**LABEL, id_type=pa.int8(), with_pair=True).names == [
        "source", "row", "id", "text", "text_pair", "text_hash", "unit_hash", "split", "teacher_logits",
        "teacher_prediction", "num_tokens", "truncated",
    ]  # fmt: skip


def test_names_on_the_way_are_no_columns_of_the_output():
    for kind in SCHEMAS.values():
        assert not {schema.INPUT_TEXT, schema.INPUT_TEXT_PAIR, schema.GROUP} & set(kind.names)
