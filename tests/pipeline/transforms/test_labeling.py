from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.engine.execution import Precision, resolve_execution
from pipeline.contract import schema
from pipeline.reading.inputs import Columns, inspect_inputs
from pipeline.transforms.labeling import LabelTask, LabelWithTeacher, Teacher
from pipeline.transforms.write_shards import ReadOptions, ShardJob
from tests.job_fixtures import LABELS, MAX_LENGTH, make_texts, plain_logits, write_csv

TEXTS = make_texts(60, longest=40)


@pytest.fixture(scope="module")
def task(teacher: Path) -> LabelTask:
    return LabelTask(
        reading=ReadOptions(columns=Columns(text="t"), id_type=None),
        teacher=str(teacher),
        labels=LABELS,
        max_length=MAX_LENGTH,
        calibration_fraction=0.3,
        execution=resolve_execution(Precision.FP32, device="cpu"),
    )


@pytest.fixture(scope="module")
def loaded(task: LabelTask) -> Teacher:
    return task.load()


def slice_states(texts: Sequence[str], pairs: Sequence[str] | None = None) -> pa.Table:
    columns = {schema.ROW: pa.array(range(100, 100 + len(texts))), schema.INPUT_TEXT: pa.array(texts)}
    return pa.table(columns if pairs is None else {**columns, schema.INPUT_TEXT_PAIR: pa.array(pairs)})


def test_logits_are_the_teachers_own(task: LabelTask, loaded: Teacher, teacher: Path):
    table, counts = task.process(slice_states(TEXTS), "a.csv", loaded)
    assert table.schema == task.schema
    expected = plain_logits(teacher, TEXTS)
    np.testing.assert_allclose(np.stack(table["teacher_logits"].to_numpy()), expected, atol=1e-5)
    assert table["teacher_prediction"].to_pylist() == [LABELS[i] for i in expected.argmax(1)]
    assert table["text"].to_pylist() == TEXTS
    assert table["row"].to_pylist() == list(range(100, 160))
    assert set(table["source"].to_pylist()) == {"a.csv"}
    plain = [len(loaded.tokenizer(text)["input_ids"]) for text in TEXTS]
    assert table["num_tokens"].to_pylist() == [min(length, MAX_LENGTH) for length in plain]
    assert table["truncated"].to_pylist() == [length > MAX_LENGTH for length in plain]
    assert counts["truncated"] == sum(table["truncated"].to_pylist()) > 0
    assert counts["train"] + counts["calibration"] == 60


def test_equal_texts_get_equal_answers_and_are_run_once(task: LabelTask, loaded: Teacher):
    table, counts = task.process(slice_states(["a b", "echo", "a b", "a b", "echo"]), "a.csv", loaded)
    assert counts["distinct_texts"] == 2
    for column in ("text_hash", "split", "teacher_logits", "teacher_prediction", "num_tokens"):
        one, two, three, four, five = table[column].to_pylist()
        assert one == three == four
        assert two == five


def test_the_split_goes_by_the_text_alone(task: LabelTask, loaded: Teacher):
    forwards, _ = task.process(slice_states(TEXTS), "a.csv", loaded)
    backwards, _ = task.process(slice_states(TEXTS[::-1]), "b.csv", loaded)
    assert forwards["split"].to_pylist() == backwards["split"].to_pylist()[::-1]
    assert set(forwards["split"].to_pylist()) == {"train", "calibration"}


@pytest.mark.parametrize(("fraction", "split"), [(0.0, "train"), (1.0, "calibration")])
def test_all_rows_can_be_of_one_split(task: LabelTask, loaded: Teacher, fraction: float, split: str):
    table, counts = replace(task, calibration_fraction=fraction).process(slice_states(TEXTS), "a.csv", loaded)
    assert set(table["split"].to_pylist()) == {split}
    assert counts[split] == 60


def test_a_row_is_answered_alike_in_any_company(task: LabelTask, loaded: Teacher):
    together, _ = task.process(slice_states(TEXTS[:10]), "a.csv", loaded)
    alone = pa.concat_tables(task.process(slice_states([text]), "a.csv", loaded)[0] for text in TEXTS[:10])
    np.testing.assert_allclose(
        np.stack(together["teacher_logits"].to_numpy()),
        np.stack(alone["teacher_logits"].to_numpy()),
        atol=1e-5,
    )


def test_pairs_are_encoded_as_pairs(task: LabelTask, loaded: Teacher, teacher: Path):
    task = replace(task, reading=ReadOptions(columns=Columns(text="t", text_pair="p"), id_type=None))
    pairs = TEXTS[::-1]
    table, _ = task.process(slice_states(TEXTS, pairs), "a.csv", loaded)
    assert table["text_pair"].to_pylist() == pairs
    np.testing.assert_allclose(
        np.stack(table["teacher_logits"].to_numpy()), plain_logits(teacher, TEXTS, pairs), atol=1e-5
    )


def test_labelling_is_a_step_of_a_users_own_pipeline(task: LabelTask, tmp_path: Path):
    path = write_csv(tmp_path / "rows.csv", {"t": TEXTS})
    inputs = inspect_inputs([str(path)], task.reading.columns, rows_per_shard=25)
    job = ShardJob(task=task, output=str(tmp_path / "out"), metadata={"fingerprint": "f00"})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        reports = pipeline | beam.Create(inputs.plan().items) | LabelWithTeacher(job)
        rows = reports | beam.Map(lambda report: report.counts["rows"]) | beam.CombineGlobally(sum)
        _ = rows | beam.Map(lambda total: (tmp_path / "total").write_text(str(total)))
    assert (tmp_path / "total").read_text() == "60"
    shards = [pq.read_table(tmp_path / "out" / item.shard_name) for item in inputs.plan().items]
    assert pa.concat_tables(shards)["text"].to_pylist() == TEXTS
