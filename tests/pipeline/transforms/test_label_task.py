import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from model.answers.task import Task
from model.checkpoints.fingerprint import checkpoint_hash
from model.engine.execution import Precision, resolve_execution
from model.errors import EnvironmentMismatchError, ParameterError
from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.contract.job import JobDescription
from pipeline.contract.shards import Counts
from pipeline.reading.inputs import Columns, ReadOptions, inspect_inputs
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.transforms.label_task import Labeller, LabelTask
from pipeline.transforms.loaded_models import acquire
from pipeline.transforms.teacher_texts import TeacherTexts
from tests.job_fixtures import LABELS, MAX_LENGTH, make_texts, plain_logits, write_csv, write_speechless

TEXTS = make_texts(60, longest=40)


@pytest.fixture(scope="module")
def task(teacher: Path) -> LabelTask:
    return LabelTask(
        reading=ReadOptions(columns=Columns(text="t"), id_type=None, kept=(), rows_per_shard=10),
        teacher="mine",
        directory=str(teacher),
        model_hash=checkpoint_hash(teacher),
        labels=LABELS,
        task=Task.ONE_LABEL,
        max_length=MAX_LENGTH,
        calibration_fraction=0.3,
        unit=Unit.TEXTS,
        execution=resolve_execution(Precision.FP32, device="cpu"),
    )


@pytest.fixture(scope="module")
def loaded(task: LabelTask) -> Labeller:
    return task.load()


def process(task: LabelTask, *args: Any) -> tuple[pa.Table, Counts]:
    """The rows of the shard and what was counted, where every row has an answer."""
    done = task.process(*args)
    assert (len(done.rejected), done.counts["not_finite"]) == (0, 0)
    return done.rows, done.counts


def accepted_rows(texts: Sequence[str], pairs: Sequence[str] | None = None) -> pa.Table:
    columns = {schema.ROW: pa.array(range(100, 100 + len(texts))), schema.INPUT_TEXT: pa.array(texts)}
    return pa.table(columns if pairs is None else {**columns, schema.INPUT_TEXT_PAIR: pa.array(pairs)})


def test_logits_are_the_teachers_own(task: LabelTask, loaded: Labeller, teacher: Path):
    table, counts = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    assert table.schema == task.schema
    expected = plain_logits(teacher, TEXTS)
    np.testing.assert_allclose(np.stack(table["teacher_logits"].to_numpy()), expected, atol=1e-5)
    assert table["teacher_prediction"].to_pylist() == [LABELS[i] for i in expected.argmax(1)]
    assert table["text"].to_pylist() == TEXTS
    assert table["row"].to_pylist() == list(range(100, 160))
    assert set(table["source"].to_pylist()) == {"a.csv"}
    plain = [len(loaded.teacher.tokenizer(text)["input_ids"]) for text in TEXTS]
    assert table["num_tokens"].to_pylist() == [min(length, MAX_LENGTH) for length in plain]
    assert table["truncated"].to_pylist() == [length > MAX_LENGTH for length in plain]
    assert counts["truncated"] == sum(table["truncated"].to_pylist()) > 0
    assert counts["train"] + counts["calibration"] == 60


def test_equal_texts_get_equal_answers_and_are_run_once(task: LabelTask, loaded: Labeller):
    table, counts = process(task, accepted_rows(["a b", "echo", "a b", "a b", "echo"]), "a.csv", loaded)
    assert counts["distinct_texts"] == 2
    for column in ("text_hash", "split", "teacher_logits", "teacher_prediction", "num_tokens"):
        one, two, three, four, five = table[column].to_pylist()
        assert one == three == four
        assert two == five


def test_the_split_of_texts_is_that_of_before(task: LabelTask, loaded: Labeller):
    texts = [f"text {number}" for number in range(40)]
    table, _ = process(task, accepted_rows(texts), "a.csv", loaded)
    drawn = [row for row, split in enumerate(table["split"].to_pylist()) if split == "calibration"]
    assert drawn == [0, 12, 14, 19, 20, 21, 26, 28, 30, 34]


def test_the_split_goes_by_the_text_alone(task: LabelTask, loaded: Labeller):
    forwards, _ = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    backwards, _ = process(task, accepted_rows(TEXTS[::-1]), "b.csv", loaded)
    assert forwards["split"].to_pylist() == backwards["split"].to_pylist()[::-1]
    assert set(forwards["split"].to_pylist()) == {"train", "calibration"}


@pytest.mark.parametrize(("fraction", "split"), [(0.0, "train"), (1.0, "calibration")])
def test_all_rows_can_be_of_one_split(task: LabelTask, loaded: Labeller, fraction: float, split: str):
    table, counts = process(
        replace(task, calibration_fraction=fraction), accepted_rows(TEXTS), "a.csv", loaded
    )
    assert set(table["split"].to_pylist()) == {split}
    assert counts[split] == 60


def test_what_the_teacher_learnt_from_calibrates_nothing(task: LabelTask, loaded: Labeller):
    _, counts = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    knows = replace(loaded, texts=TeacherTexts(hashes=frozenset(text_hashes(TEXTS[::2])), is_known=True))
    # A text that comes twice is left out twice.
    rows = accepted_rows([*TEXTS, *TEXTS[:20]])
    everything, _ = process(task, rows, "a.csv", loaded)
    table, left = process(task, rows, "a.csv", knows)
    was, now = everything["split"].to_pylist(), table["split"].to_pylist()
    learnt = [text in TEXTS[::2] for text in rows[schema.INPUT_TEXT].to_pylist()]
    assert now == ["train" if known else split for split, known in zip(was, learnt, strict=True)]
    drawn = sum(known and split == "calibration" for split, known in zip(was, learnt, strict=True))
    assert (counts["learnt_by_teacher"], left["learnt_by_teacher"]) == (0, drawn)
    assert drawn > 0
    assert left["train"] + left["calibration"] == len(rows)
    assert table.drop(["split"]).equals(everything.drop(["split"]))


def test_a_worker_with_another_teacher_is_refused(task: LabelTask):
    with pytest.raises(EnvironmentMismatchError, match="is another model on a worker than where the job"):
        replace(task, model_hash="0" * 64).load()


def test_a_worker_without_the_drivers_directory_goes_by_the_teachers_name(task: LabelTask, tmp_path: Path):
    elsewhere = replace(task, directory=str(tmp_path / "gone"), teacher=task.directory)
    assert elsewhere.load().texts.digest == task.teacher_texts


def test_a_worker_with_other_texts_of_the_teacher_is_refused(task: LabelTask):
    with pytest.raises(EnvironmentMismatchError, match="was fine-tuned on other texts on a worker"):
        replace(task, teacher_texts="0" * 64).load()


def test_a_row_is_answered_alike_in_any_company(task: LabelTask, loaded: Labeller):
    together, _ = process(task, accepted_rows(TEXTS[:10]), "a.csv", loaded)
    alone = pa.concat_tables(process(task, accepted_rows([text]), "a.csv", loaded)[0] for text in TEXTS[:10])
    np.testing.assert_allclose(
        np.stack(together["teacher_logits"].to_numpy()),
        np.stack(alone["teacher_logits"].to_numpy()),
        atol=1e-5,
    )


def test_pairs_are_encoded_as_pairs(task: LabelTask, loaded: Labeller, teacher: Path):
    task = replace(
        task,
        reading=ReadOptions(
            columns=Columns(text="t", text_pair="p"), id_type=None, kept=(), rows_per_shard=10
        ),
    )
    pairs = TEXTS[::-1]
    table, _ = process(task, accepted_rows(TEXTS, pairs), "a.csv", loaded)
    assert table["text_pair"].to_pylist() == pairs
    np.testing.assert_allclose(
        np.stack(table["teacher_logits"].to_numpy()), plain_logits(teacher, TEXTS, pairs), atol=1e-5
    )


def test_a_prepared_task_is_loaded_already(teacher: Path, tmp_path: Path):
    path = write_csv(tmp_path / "rows.csv", {"t": TEXTS})
    inputs = inspect_inputs([str(path)], Columns(text="t"), rows_per_shard=25)
    task, holder = LabelTask.prepare(str(teacher), inputs)
    assert acquire(pickle.loads(pickle.dumps(task)), task.load) is holder
    assert (task.labels, task.max_length) == (LABELS, MAX_LENGTH)
    with pytest.raises(ParameterError, match=r"`calibration_fraction` 1\.5 is not a share, 0 to 1"):
        LabelTask.prepare(str(teacher), inputs, calibration_fraction=1.5)


def test_what_changes_the_labels_is_in_the_settings(task: LabelTask):
    changes = [
        {"model_hash": "1"},
        {"max_length": 5},
        {"calibration_fraction": 0.5},
        {"unit": Unit.ROWS},
        {"teacher_texts": "1"},
        {"execution": resolve_execution(Precision.BF16, device="cpu")},
        {"reading": replace(task.reading, columns=Columns(text="u"))},
        {"reading": replace(task.reading, rows_per_shard=11)},
    ]
    settings = [replace(task, **change).settings for change in changes]
    assert len({repr(each) for each in [task.settings, *settings]}) == len(changes) + 1
    assert replace(task, teacher="yours", directory="elsewhere").settings == task.settings


def test_a_whole_number_is_the_same_job(task: LabelTask):
    descriptions = [
        JobDescription(settings=replace(task, calibration_fraction=fraction).settings, inputs=())
        for fraction in (0, 0.0)
    ]
    assert descriptions[0].fingerprint == descriptions[1].fingerprint


def grouped(texts: Sequence[str], groups: Sequence[int | None]) -> pa.Table:
    return accepted_rows(texts).append_column(schema.GROUP, pa.array(groups, pa.int64()))


def test_rows_of_a_group_are_of_one_split(task: LabelTask, loaded: Labeller):
    groups = [None if number % 10 == 9 else number // 4 for number in range(60)]
    by_group = replace(task, unit=Unit.GROUPS, calibration_fraction=0.5)
    rows = grouped(TEXTS, groups)
    table, _ = process(by_group, rows, "a.csv", loaded)
    assert table.schema == task.schema
    splits: dict[object, set[str]] = {}
    units: dict[object, set[bytes]] = {}
    for group, text, split, unit in zip(
        groups, TEXTS, *(table[name].to_pylist() for name in ("split", "unit_hash")), strict=True
    ):
        splits.setdefault(text if group is None else group, set()).add(split)
        units.setdefault(text if group is None else group, set()).add(unit)
    assert all(len(found) == 1 for found in (*splits.values(), *units.values()))
    assert {split for found in splits.values() for split in found} == {"train", "calibration"}
    assert len({unit for found in units.values() for unit in found}) == len(units)
    # Wherever the rows stand.
    elsewhere, _ = process(by_group, rows, "b.csv", loaded)
    assert elsewhere["split"].equals(table["split"])
    by_text, _ = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    assert by_text["unit_hash"].equals(by_text["text_hash"])


def test_of_rows_the_copies_of_a_text_may_be_of_either_split(task: LabelTask, loaded: Labeller):
    table, _ = process(
        replace(task, unit=Unit.ROWS, calibration_fraction=0.5),
        accepted_rows(TEXTS[:3] * 20),
        "a.csv",
        loaded,
    )
    for text in TEXTS[:3]:
        of_text = [
            split
            for split, each in zip(table["split"].to_pylist(), table["text"].to_pylist(), strict=True)
            if each == text
        ]
        assert 4 < of_text.count("calibration") < 16
    assert len(set(table["unit_hash"].to_pylist())) == 60
    assert len(set(table["text_hash"].to_pylist())) == 3


def test_a_row_whose_answer_is_no_number_is_rejected(
    task: LabelTask, loaded: Labeller, teacher: Path, tmp_path: Path
):
    lost = write_speechless(teacher, tmp_path / "broken", TEXTS)
    broken = tmp_path / "broken"
    spoilt = replace(task, directory=str(broken), model_hash=checkpoint_hash(broken))
    done = spoilt.process(accepted_rows(TEXTS), "a.csv", spoilt.load())
    assert done.rejected.to_pylist() == [
        {"source": "a.csv", "row": 100 + row, "reason": "not_finite", "raw_value": TEXTS[row].encode()}
        for row in lost
    ]
    assert done.counts["not_finite"] == len(lost)
    others, _ = process(task, accepted_rows(TEXTS), "a.csv", loaded)
    is_kept = pa.array(row not in lost for row in range(len(TEXTS)))
    expected = others.filter(is_kept)
    for name in (*CERTAIN, "split"):
        assert done.rows[name].to_pylist() == expected[name].to_pylist()
    np.testing.assert_allclose(
        np.stack(done.rows["teacher_logits"].to_numpy()),
        np.stack(expected["teacher_logits"].to_numpy()),
        atol=1e-5,
    )


CERTAIN = ("row", "text", "text_hash", "teacher_prediction", "num_tokens")
