"""Distillation that goes on from the branches of a FastBERT."""

from pathlib import Path
from typing import Any

import numpy as np

from jobs.driver.distill_metrics import DistillMetrics, known_metrics
from pipeline.contract.typed_json import read_typed
from pipeline.sampling.training_hashes import read_branch_texts
from tests.job_fixtures import CommandLine, make_texts, write_classifier, write_tsv
from tests.jobs.distill_fixtures import TEXTS, distill, label_texts, weights


def label_more(command: CommandLine, teacher: Path, directory: Path, *more: Any) -> Path:
    """Label texts that are new."""
    write_tsv(directory / "more.tsv", {"text": make_texts(300, seed=77)})
    command(
        "label-teacher", "--input", directory / "more.tsv", "--text-column", "text", "--teacher", teacher,
        "--output", directory / "more", *more,
    )  # fmt: skip
    return directory / "more"


def go_on(labels: Path, fastbert: Path, output: Path, *more: Any) -> list[Any]:
    given = ["--labels", labels, "--continue", fastbert, "--output", output, "--epochs", 2]
    return ["distill", *given, "--batch-size", 32, *more]


def test_branches_are_trained_on_when_new_text_has_come(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    first, second = tmp_path / "first", tmp_path / "second"
    command(*distill(soft_labels, teacher, first, epochs=10))
    more = label_more(command, teacher, tmp_path)
    out = command(*go_on(more, first, second))
    assert ", pooling, trained on, KL" in out
    before, after = weights(first), weights(second)
    backbone = {name for name in before if name.startswith("backbone.")}
    assert all((before[name] == after[name]).all() for name in backbone)
    assert before.keys() == after.keys()
    # They go on from where they were: nearer to that than fresh ones of another seed are.
    command(*distill(more, teacher, tmp_path / "fresh", "--seed", 5, epochs=2))
    fresh = weights(tmp_path / "fresh")
    name = "branches.0.classifier.weight"
    assert np.abs(after[name] - before[name]).mean() < 0.5 * np.abs(fresh[name] - before[name]).mean()
    # What both trainings saw is remembered, and nothing of the calibration is.
    learnt = read_branch_texts(second)
    assert learnt is not None
    assert learnt > read_branch_texts(first)
    job = read_typed(str(second / "metrics.json"), DistillMetrics, cure="none").config
    earlier = read_typed(str(first / "metrics.json"), DistillMetrics, cure="none").config
    assert (job.backbone, job.labels_before) == (earlier.backbone, earlier.labels)
    assert job.continued
    trained = known_metrics(second)
    assert trained is not None
    assert trained.labels_learnt_from == (*job.labels, *earlier.labels)
    # A text of the calibration split of the new labels that the first training saw is refused.
    write_tsv(tmp_path / "again.tsv", {"text": [*TEXTS, *make_texts(400, seed=78)]})
    command(
        "label-teacher", "--input", tmp_path / "again.tsv", "--text-column", "text", "--teacher", teacher,
        "--output", tmp_path / "again", "--calibration-fraction", 0.9,
    )  # fmt: skip
    line = command.refused("calibrate", "--model", second, "--labels", tmp_path / "again")
    assert "holds for calibration what the branches of" in line


def test_branches_that_get_no_better_stay_what_they_were(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    command(*distill(soft_labels, teacher, tmp_path / "first", epochs=10))
    # Steps of this size ruin whatever is trained.
    more = label_more(command, teacher, tmp_path)
    command(*go_on(more, tmp_path / "first", tmp_path / "second", "--learning-rate", 50))
    before, after = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert all((before[name] == after[name]).all() for name in before if name.startswith("branches."))


def test_a_calibration_is_not_carried_over(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    command(*distill(soft_labels, teacher, tmp_path / "first"))
    for name in ("calibration.json", "calibration.parquet"):
        (tmp_path / "first" / name).write_text("{}")
    command(*go_on(label_more(command, teacher, tmp_path), tmp_path / "first", tmp_path / "second"))
    assert not list((tmp_path / "second").glob("calibration*"))


def test_answers_of_another_teacher_are_refused(
    command: CommandLine, soft_labels: Path, teacher: Path, tmp_path: Path
):
    command(*distill(soft_labels, teacher, tmp_path / "first"))
    others = label_texts(tmp_path / "labels", write_classifier(tmp_path / "other", seed=9))
    line = command.refused(*go_on(others, tmp_path / "first", tmp_path / "out"))
    assert line == (
        f"'{others}' holds the answers of another teacher than the branches of '{tmp_path / 'first'}' learnt "
        "from; label with that teacher, or distil anew from --backbone"
    )
    (tmp_path / "first" / "metrics.json").unlink()
    line = command.refused(*go_on(soft_labels, tmp_path / "first", tmp_path / "out"))
    assert "does not tell what its branches learnt from" in line
    assert not list(tmp_path.glob("out*"))
