from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.engine.execution import Precision, resolve_execution
from model.errors import ParameterError
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from pipeline.contract import schema
from pipeline.reading.inputs import Columns, inspect_inputs
from pipeline.transforms.scoring import Scorer, ScoreTask, ScoreWithEarlyExit
from pipeline.transforms.write_shards import ReadOptions, ShardJob
from tests.job_fixtures import (
    LABELS,
    MAX_LENGTH,
    NUM_LAYERS,
    make_texts,
    plain_logits,
    softmax,
    write_parquet,
)

TEXTS = make_texts(80, longest=40)


@pytest.fixture(scope="module")
def task(fastbert: Path) -> ScoreTask:
    return ScoreTask(
        reading=ReadOptions(columns=Columns(text="t"), id_type=None),
        model=str(fastbert),
        labels=LABELS,
        max_length=MAX_LENGTH,
        policy=ExitPolicy.from_speed(0.7, num_layers=NUM_LAYERS),
        shadow_fraction=0.4,
        execution=resolve_execution(Precision.FP32, device="cpu"),
    )


@pytest.fixture(scope="module")
def loaded(task: ScoreTask) -> Scorer:
    return task.load()


def slice_states(texts: Sequence[str]) -> pa.Table:
    return pa.table({schema.ROW: pa.array(range(len(texts))), schema.INPUT_TEXT: pa.array(texts)})


def test_answers_are_those_of_predict(task: ScoreTask, loaded: Scorer, fastbert: Path):
    table, counts = task.process(slice_states(TEXTS), "a.csv", loaded)
    assert table.schema == task.schema
    expected = FastBertForSequenceClassification.from_pretrained(fastbert).predict(TEXTS, speed=0.7)
    assert table["prediction"].to_pylist() == expected.predictions
    np.testing.assert_allclose(np.stack(table["probabilities"].to_numpy()), expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(table["uncertainty"].to_numpy(), expected.uncertainty, atol=1e-5)
    assert table["exit_layer"].to_pylist() == expected.exit_layer.tolist()
    assert set(table["exit_layer"].to_pylist()) == {1, 2, 3}
    assert table["truncated"].to_pylist() == expected.truncated.tolist()
    assert [counts[f"exit_layer_{layer}"] for layer in (1, 2, 3)] == np.bincount(expected.exit_layer)[
        1:
    ].tolist()
    assert counts["real_token_layers"] <= counts["processed_token_layers"]


def test_a_row_that_left_early_was_sure_and_one_that_stayed_was_not(task: ScoreTask, loaded: Scorer):
    table, _ = task.process(slice_states(TEXTS), "a.csv", loaded)
    uncertainty = table["uncertainty"].to_numpy()
    early = table["exit_layer"].to_numpy() < NUM_LAYERS
    assert (uncertainty[early] < 0.7).all()
    assert ((uncertainty >= 0) & (uncertainty <= 1)).all()


def test_the_shadow_sample_is_answered_at_full_depth(task: ScoreTask, loaded: Scorer, teacher: Path):
    table, _ = task.process(slice_states(TEXTS), "a.csv", loaded)
    without, _ = replace(task, shadow_fraction=0.0).process(slice_states(TEXTS), "a.csv", loaded)
    is_shadow = table["teacher_prediction"].is_valid().to_numpy()
    assert 0 < is_shadow.sum() < len(TEXTS)
    assert (table["teacher_probabilities"].is_valid().to_numpy() == is_shadow).all()
    logits = plain_logits(teacher, TEXTS)[is_shadow]
    assert table["teacher_prediction"].drop_null().to_pylist() == [LABELS[i] for i in logits.argmax(1)]
    found = np.array(table["teacher_probabilities"].drop_null().to_pylist())
    np.testing.assert_allclose(found, softmax(logits), atol=1e-5)
    # Whoever is watched answers as if he were not: at his own exit.
    own = [name for name in table.column_names if not name.startswith("teacher_")]
    assert set(table.filter(pa.array(is_shadow))["exit_layer"].to_pylist()) == {1, 2, 3}
    assert (
        table.select(own)
        .drop(["probabilities", "uncertainty"])
        .equals(without.select(own).drop(["probabilities", "uncertainty"]))
    )
    assert without["teacher_prediction"].null_count == len(TEXTS)


def test_the_shadow_sample_goes_by_the_text_alone(task: ScoreTask, loaded: Scorer):
    forwards, _ = task.process(slice_states(TEXTS), "a.csv", loaded)
    backwards, _ = task.process(slice_states(TEXTS[::-1]), "a.csv", loaded)
    assert forwards["teacher_prediction"].to_pylist() == backwards["teacher_prediction"].to_pylist()[::-1]


def test_equal_texts_are_run_once_and_counted_each(task: ScoreTask, loaded: Scorer):
    once, counts_once = task.process(slice_states(TEXTS[:5]), "a.csv", loaded)
    thrice, counts = task.process(slice_states(TEXTS[:5] * 3), "a.csv", loaded)
    assert counts["distinct_texts"] == counts_once["distinct_texts"] <= 5
    assert counts["processed_token_layers"] == counts_once["processed_token_layers"]
    for layer in (1, 2, 3):
        assert counts[f"exit_layer_{layer}"] == 3 * counts_once[f"exit_layer_{layer}"]
    assert thrice.drop(["row"]).equals(pa.concat_tables([once] * 3).drop(["row"]).combine_chunks())


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_all_texts_can_leave_at_one_layer(task: ScoreTask, loaded: Scorer, layer: int):
    policy = ExitPolicy.from_exit_layer(layer, num_layers=NUM_LAYERS)
    table, counts = replace(task, policy=policy).process(slice_states(TEXTS), "a.csv", loaded)
    assert set(table["exit_layer"].to_pylist()) == {layer}
    assert counts[f"exit_layer_{layer}"] == len(TEXTS)


def test_scoring_is_a_step_of_a_users_own_pipeline(task: ScoreTask, tmp_path: Path):
    path = write_parquet(tmp_path / "rows.parquet", {"t": TEXTS})
    inputs = inspect_inputs([str(path)], task.reading.columns, rows_per_shard=25)
    job = ShardJob(task=task, output=str(tmp_path / "out"), metadata={"fingerprint": "f00"})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        reports = pipeline | beam.Create(inputs.plan().items) | ScoreWithEarlyExit(job)
        rows = reports | beam.Map(lambda report: report.counts["rows"]) | beam.CombineGlobally(sum)
        _ = rows | beam.Map(lambda total: (tmp_path / "total").write_text(str(total)))
    assert (tmp_path / "total").read_text() == "80"
    shards = [pq.read_table(tmp_path / "out" / item.shard_name) for item in inputs.plan().items]
    assert pa.concat_tables(shards)["row"].to_pylist() == list(range(80))


def test_a_kept_column_with_a_name_of_the_shards_own_is_refused(fastbert: Path, tmp_path: Path):
    (tmp_path / "a.tsv").write_text("text\tprediction\nhello\tx\n")
    columns = Columns(text="text", keep=("prediction",))
    inputs = inspect_inputs([str(tmp_path / "a.tsv")], columns, rows_per_shard=10)
    with pytest.raises(ParameterError, match="`keep` prediction"):
        ScoreTask.for_model(fastbert, inputs)
