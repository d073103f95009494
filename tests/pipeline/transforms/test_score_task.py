import gzip
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from model.answers.rule import AnswerRule
from model.answers.scaling import UNSCALED, Scaling
from model.answers.task import Task
from model.checkpoints.fingerprint import checkpoint_hash
from model.cost.network_flops import fastbert_flops
from model.engine.execution import Precision, resolve_execution
from model.errors import ArtifactError, CheckpointError, EnvironmentMismatchError, ParameterError
from model.exits.policy import CalibratedFor, ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.guarantee.unit import Unit
from model.network.config import load_fastbert_config
from model.version import NUMERICS_VERSION
from pipeline.contract import schema
from pipeline.contract.job import JobDescription
from pipeline.contract.shards import Counts
from pipeline.reading.inputs import Columns, ReadOptions, inspect_inputs
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample, text_hashes
from pipeline.transforms.loaded_models import acquire
from pipeline.transforms.score_task import Scorer, ScoreTask, shadow_unit
from tests.job_fixtures import (
    LABELS,
    MAX_LENGTH,
    NUM_LAYERS,
    make_texts,
    plain_logits,
    softmax,
    write_csv,
    write_parquet,
    write_speechless,
)

TEXTS = make_texts(80, longest=40)

RULE = AnswerRule(task=Task.ONE_LABEL)


@pytest.fixture(scope="module")
def task(fastbert: Path) -> ScoreTask:
    return ScoreTask(
        reading=ReadOptions(columns=Columns(text="t"), id_type=None, kept=(), rows_per_shard=10),
        model="mine",
        directory=str(fastbert),
        model_hash=checkpoint_hash(fastbert),
        labels=LABELS,
        max_length=MAX_LENGTH,
        flops=fastbert_flops(load_fastbert_config(fastbert)),
        policy=ExitPolicy.from_speed(0.7, num_layers=NUM_LAYERS, answer=RULE),
        shadow_fraction=0.4,
        shadow_unit=Unit.TEXTS,
        sample_fraction=0.4,
        execution=resolve_execution(Precision.FP32, device="cpu"),
    )


@pytest.fixture(scope="module")
def loaded(task: ScoreTask) -> Scorer:
    return task.load()


def process(task: ScoreTask, *args: Any) -> tuple[pa.Table, Counts]:
    """The rows of the shard and what was counted, where every row has an answer."""
    done = task.process(*args)
    assert (len(done.rejected), done.counts["not_finite"]) == (0, 0)
    return done.rows, done.counts


def accepted_rows(texts: Sequence[str]) -> pa.Table:
    return pa.table({schema.ROW: pa.array(range(len(texts))), schema.INPUT_TEXT: pa.array(texts)})


def test_answers_are_those_of_predict(task: ScoreTask, loaded: Scorer, fastbert: Path):
    table, counts = process(task, accepted_rows(TEXTS), "a.csv", loaded)
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
    table, _ = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    uncertainty = table["uncertainty"].to_numpy()
    early = table["exit_layer"].to_numpy() < NUM_LAYERS
    assert (uncertainty[early] < 0.7).all()
    assert ((uncertainty >= 0) & (uncertainty <= 1)).all()


def test_the_shadow_sample_is_answered_at_full_depth(task: ScoreTask, loaded: Scorer, teacher: Path):
    table, _ = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    without, _ = process(replace(task, shadow_fraction=0.0), accepted_rows(TEXTS), "a.csv", loaded)
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


def test_a_text_of_the_shadow_sample_is_told_from_others(task: ScoreTask, loaded: Scorer):
    table, _ = process(task, accepted_rows([*TEXTS, *TEXTS[:9]]), "a.csv", loaded)
    hashes = [
        text_hash if prediction is not None else None
        for text_hash, prediction in zip(
            text_hashes([*TEXTS, *TEXTS[:9]]), table["teacher_prediction"].to_pylist(), strict=True
        )
    ]
    assert table["unit_hash"].to_pylist() == hashes
    assert 0 < table["unit_hash"].null_count < len(hashes)


def test_the_shadow_sample_lies_in_the_other(task: ScoreTask, loaded: Scorer):
    few, _ = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    many, _ = process(replace(task, sample_fraction=1.0), accepted_rows(TEXTS), "a.csv", loaded)
    assert many["unit_hash"].to_pylist() == text_hashes(TEXTS)
    of_sample = ["unit_hash", "first_uncertainty"]
    assert many.drop(of_sample).equals(few.drop(of_sample))
    assert few["first_uncertainty"].is_null().equals(few["unit_hash"].is_null())
    first = many["first_uncertainty"].to_numpy()
    left_there = many["exit_layer"].to_numpy() == 1
    assert (first == many["uncertainty"].to_numpy())[left_there].all()
    assert (first[~left_there] >= task.policy.thresholds[0]).all()
    assert 0 < left_there.sum() < len(TEXTS)


def test_about_so_many_rows_may_be_asked_of_the_shadow_sample(fastbert: Path, tmp_path: Path):
    path = write_csv(tmp_path / "rows.csv", {"t": TEXTS})
    inputs = inspect_inputs([str(path)], Columns(text="t"), rows_per_shard=25)

    def fraction(**given: Any) -> float:
        return ScoreTask.prepare(str(fastbert), inputs, speed=0.5, **given)[0].shadow_fraction

    # As many as 5 % more compute buys, where each text might leave at the first layer.
    assert 0.001 < fraction() < 0.1
    assert fraction(shadow_rows=len(TEXTS) // 4) == pytest.approx((len(TEXTS) // 4) / len(TEXTS), rel=1e-3)
    assert (fraction(shadow_rows=10**9), fraction(shadow_rows=0)) == (1.0, 0.0)
    with pytest.raises(ParameterError, match="give one of `shadow_fraction` and `shadow_rows`"):
        fraction(shadow_rows=5, shadow_fraction=0.5)
    with pytest.raises(ParameterError, match="`shadow_rows` -1: must be at least 0"):
        fraction(shadow_rows=-1)
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    inputs = inspect_inputs([str(packed)], Columns(text="t"), rows_per_shard=25)
    with pytest.raises(ParameterError, match="how many rows compressed input holds is not known"):
        fraction(shadow_rows=5)


def test_the_shadow_sample_goes_by_the_text_alone(task: ScoreTask, loaded: Scorer):
    forwards, _ = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    backwards, _ = process(task, accepted_rows(TEXTS[::-1]), "a.csv", loaded)
    assert forwards["teacher_prediction"].to_pylist() == backwards["teacher_prediction"].to_pylist()[::-1]


def test_equal_texts_are_run_once_and_counted_each(task: ScoreTask, loaded: Scorer):
    once, counts_once = process(task, accepted_rows(TEXTS[:5]), "a.csv", loaded)
    thrice, counts = process(task, accepted_rows(TEXTS[:5] * 3), "a.csv", loaded)
    assert counts["distinct_texts"] == counts_once["distinct_texts"] <= 5
    assert counts["processed_token_layers"] == counts_once["processed_token_layers"]
    for layer in (1, 2, 3):
        assert counts[f"exit_layer_{layer}"] == 3 * counts_once[f"exit_layer_{layer}"]
    assert thrice.drop(["row"]).equals(pa.concat_tables([once] * 3).drop(["row"]).combine_chunks())


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_all_texts_can_leave_at_one_layer(task: ScoreTask, loaded: Scorer, layer: int):
    policy = ExitPolicy.from_exit_layer(layer, num_layers=NUM_LAYERS, answer=RULE)
    table, counts = process(replace(task, policy=policy), accepted_rows(TEXTS), "a.csv", loaded)
    assert set(table["exit_layer"].to_pylist()) == {layer}
    assert counts[f"exit_layer_{layer}"] == len(TEXTS)


def test_texts_may_leave_before_the_first_layer(task: ScoreTask, lexical_fastbert: Path):
    lexical = replace(
        task,
        directory=str(lexical_fastbert),
        model_hash=checkpoint_hash(lexical_fastbert),
        flops=fastbert_flops(load_fastbert_config(lexical_fastbert)),
        policy=replace(task.policy, lexical_threshold=0.6),
    )
    table, counts = process(lexical, accepted_rows(TEXTS), "a.csv", lexical.load())
    exits = table["exit_layer"].to_numpy()
    assert {0, 1} <= set(exits.tolist())
    for exit_layer in range(NUM_LAYERS + 1):
        assert counts[f"exit_layer_{exit_layer}"] == (exits == exit_layer).sum()
    assert (table["uncertainty"].to_numpy()[exits == 0] < 0.6).all()
    shadowed = [answer is not None for answer in table["teacher_prediction"].to_pylist()]
    assert any(np.array(shadowed) & (exits == 0)), "exit 0 is held against full depth too"


def test_a_kept_column_with_a_name_of_the_shards_own_is_refused(fastbert: Path, tmp_path: Path):
    (tmp_path / "a.tsv").write_text("text\tprediction\nhello\tx\n")
    columns = Columns(text="text", keep=("prediction",))
    inputs = inspect_inputs([str(tmp_path / "a.tsv")], columns, rows_per_shard=10)
    with pytest.raises(ParameterError, match="`keep` prediction"):
        ScoreTask.prepare(str(fastbert), inputs)


def test_a_worker_with_another_model_is_refused(task: ScoreTask):
    with pytest.raises(EnvironmentMismatchError, match="is another model on a worker than where the job"):
        replace(task, model_hash="0" * 64).load()


def test_a_worker_without_the_drivers_directory_goes_by_the_models_name(task: ScoreTask, tmp_path: Path):
    elsewhere = replace(task, directory=str(tmp_path / "gone"), model=task.directory)
    assert elsewhere.load().engine.model_hash == task.model_hash
    with pytest.raises(CheckpointError, match="a worker cannot find '/gone/too'"):
        replace(elsewhere, model="/gone/too").load()


def test_a_policy_that_is_calibrated_for_something_else_is_refused_before_anything_is_written(
    task: ScoreTask, fastbert: Path, tmp_path: Path
):
    path = write_parquet(tmp_path / "rows.parquet", {"t": TEXTS})
    inputs = inspect_inputs([str(path)], task.reading.columns, rows_per_shard=25)
    calibrated_for = CalibratedFor(
        model_hash=task.model_hash,
        numerics_version=NUMERICS_VERSION,
        device="cpu",
        precision="bf16",
        backend="onednn",
        max_length=MAX_LENGTH,
    )
    policy = replace(task.policy, calibrated_for=calibrated_for)
    with pytest.raises(ArtifactError, match=r"in precision \(fp32, calibrated for bf16\)"):
        ScoreTask.prepare(str(fastbert), inputs, policy=policy, precision=Precision.FP32)


def test_a_prepared_task_is_loaded_already(fastbert: Path, tmp_path: Path):
    path = write_parquet(tmp_path / "rows.parquet", {"t": TEXTS})
    inputs = inspect_inputs([str(path)], Columns(text="t"), rows_per_shard=25)
    task, holder = ScoreTask.prepare(str(fastbert), inputs)
    assert acquire(pickle.loads(pickle.dumps(task)), task.load) is holder


def test_what_changes_the_scores_is_in_the_settings(task: ScoreTask):
    changes = [
        {"model_hash": "1"},
        {"max_length": 5},
        {"shadow_fraction": 0.5},
        {"shadow_unit": Unit.ROWS},
        {"policy": ExitPolicy.from_speed(0.1, num_layers=NUM_LAYERS, answer=RULE)},
        {"policy": replace(task.policy, scalings=(Scaling.by(2.0), UNSCALED))},
        {"policy": replace(task.policy, lexical_threshold=0.5)},
        {"policy": replace(task.policy, lexical_scaling=Scaling.by(0.5))},
        {"policy": replace(task.policy, length_exponent=0.5)},
        {"execution": resolve_execution(Precision.BF16, device="cpu")},
        {"reading": replace(task.reading, columns=Columns(text="u"))},
        {"reading": replace(task.reading, rows_per_shard=11)},
    ]
    settings = [replace(task, **change).settings for change in changes]
    assert len({repr(each) for each in [task.settings, *settings]}) == len(changes) + 1
    assert replace(task, model="yours", directory="elsewhere").settings == task.settings


def test_a_whole_number_is_the_same_job(task: ScoreTask):
    descriptions = [
        JobDescription(settings=replace(task, shadow_fraction=fraction).settings, inputs=())
        for fraction in (0, 0.0)
    ]
    assert descriptions[0].fingerprint == descriptions[1].fingerprint


def test_the_shadow_sample_may_be_of_rows(task: ScoreTask, loaded: Scorer):
    texts = TEXTS[:4] * 20
    table, _ = process(replace(task, shadow_unit=Unit.ROWS), accepted_rows(texts), "a.csv", loaded)
    is_shadow = table["teacher_prediction"].is_valid().to_pylist()
    for text in TEXTS[:4]:
        assert 0 < sum(drawn for drawn, each in zip(is_shadow, texts, strict=True) if each == text) < 20
    units = [each for each in table["unit_hash"].to_pylist() if each is not None]
    assert len(set(units)) == len(units) == sum(is_shadow)
    # What is drawn has no part in the answers, which are the same for all copies.
    assert table["prediction"].to_pylist() == table["prediction"].to_pylist()[:4] * 20
    by_text, _ = process(task, accepted_rows(texts), "a.csv", loaded)
    assert by_text["prediction"].equals(table["prediction"])
    full_depth = dict(zip(texts, by_text["teacher_prediction"].to_pylist(), strict=True))
    for text, prediction in zip(texts, table["teacher_prediction"].to_pylist(), strict=True):
        assert None in (prediction, full_depth[text]) or prediction == full_depth[text]


def test_the_shadow_sample_may_be_of_whole_groups(task: ScoreTask, loaded: Scorer):
    groups = [f"document {number // 8}" for number in range(80)]
    rows = accepted_rows(TEXTS).append_column(schema.GROUP, pa.array(groups))
    table, _ = process(replace(task, shadow_unit=Unit.GROUPS), rows, "a.csv", loaded)
    assert table.schema == task.schema
    drawn: dict[str, set[bool]] = {}
    for group, prediction in zip(groups, table["teacher_prediction"].to_pylist(), strict=True):
        drawn.setdefault(group, set()).add(prediction is not None)
    assert sorted(map(len, drawn.values())) == [1] * 10
    assert {True} in drawn.values()
    assert {False} in drawn.values()
    assert len(set(table["unit_hash"].to_pylist()) - {None}) == sum(
        found == {True} for found in drawn.values()
    )


@pytest.mark.parametrize(
    ("calibrated", "group_column", "unit"),
    [
        (None, None, Unit.TEXTS),
        (None, "thread", Unit.GROUPS),
        (Unit.TEXTS, None, Unit.TEXTS),
        (Unit.TEXTS, "thread", Unit.GROUPS),
        (Unit.ROWS, None, Unit.ROWS),
        (Unit.GROUPS, None, Unit.TEXTS),
        (Unit.GROUPS, "thread", Unit.GROUPS),
    ],
)
def test_the_shadow_sample_is_drawn_by_what_is_promised(
    calibrated: Unit | None, group_column: str | None, unit: Unit
):
    assert shadow_unit(calibrated, group_column) is unit


def test_of_a_calibration_of_rows_no_groups_are_drawn():
    with pytest.raises(ParameterError, match="`group_column` thread does not go with a calibration of rows"):
        shadow_unit(Unit.ROWS, "thread")


def test_a_row_whose_answer_is_no_number_is_rejected(
    task: ScoreTask, loaded: Scorer, fastbert: Path, tmp_path: Path
):
    broken = tmp_path / "broken"
    lost = write_speechless(fastbert, broken, TEXTS)
    spoilt = replace(task, directory=str(broken), model_hash=checkpoint_hash(broken))
    done = spoilt.process(accepted_rows(TEXTS), "a.csv", spoilt.load())
    assert done.rejected["row"].to_pylist() == lost
    assert set(done.rejected["reason"].to_pylist()) == {"not_finite"}
    assert done.rejected["raw_value"].to_pylist() == [TEXTS[row].encode() for row in lost]
    others, _ = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    expected = others.filter(pa.array(row not in lost for row in range(len(TEXTS))))
    for name in ("row", "prediction", "exit_layer", "num_tokens", "teacher_prediction", "unit_hash"):
        assert done.rows[name].to_pylist() == expected[name].to_pylist()
    exits = {name: count for name, count in done.counts.items() if name.startswith("exit_layer_")}
    assert sum(exits.values()) == len(TEXTS) - len(lost)
    assert done.counts["not_finite"] == len(lost)


def test_a_row_of_the_shadow_sample_without_an_answer_at_full_depth_is_rejected(
    task: ScoreTask, fastbert: Path, tmp_path: Path
):
    """Never is it called the first label."""
    model = FastBertForSequenceClassification.from_pretrained(fastbert)
    with torch.no_grad():
        model.backbone.classifier.bias[1] = torch.inf
    model.save_pretrained(tmp_path / "broken")
    spoilt = replace(
        task, directory=str(tmp_path / "broken"), model_hash=checkpoint_hash(tmp_path / "broken"),
        policy=ExitPolicy.from_exit_layer(1, num_layers=NUM_LAYERS, answer=RULE),
    )  # fmt: skip
    done = spoilt.process(accepted_rows(TEXTS), "a.csv", spoilt.load())
    units = text_hashes(TEXTS, None)
    is_shadow = in_hash_sample(list(units), task.shadow_fraction, HashStream.SHADOW)
    assert done.rejected["row"].to_pylist() == np.flatnonzero(is_shadow).tolist()
    assert done.rows["row"].to_pylist() == np.flatnonzero(~is_shadow).tolist()
    assert done.rows["teacher_prediction"].null_count == len(done.rows)
