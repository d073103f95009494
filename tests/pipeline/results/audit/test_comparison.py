from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.answers.rule import answer_rule
from model.answers.task import Task
from model.errors import ParameterError
from pipeline.results.audit.comparison import compare_jobs
from tests.pipeline.results.audit.audited_jobs import AuditedJob, audited, finished
from tests.pipeline.results.score_rows import LABELS, random_rows


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> AuditedJob:
    rows = random_rows(900)
    rows["text"] = [f"text {row}" for row in range(len(rows))]
    return audited(tmp_path_factory.mktemp("one"), rows, None, kept=["text"])


def test_rows_that_changed_are_counted_and_shown(job: AuditedJob, tmp_path: Path):
    rows = job.rows.copy()
    changed = np.random.default_rng(1).permutation(900)[:70]
    before = rows["prediction"].to_numpy().copy()
    after = before.copy()
    after[changed] = [LABELS[(LABELS.index(label) + 1) % 3] for label in before[changed]]
    rows["prediction"] = after
    other = audited(tmp_path, rows, None, kept=["text"])
    found = compare_jobs(finished(job), finished(other))
    assert (found.changed.part, found.changed.whole) == (70, 900)
    pairs = Counter(zip(before[changed], after[changed], strict=True))
    assert {(each.before, each.after): each.rows for each in found.changes} == pairs
    first = sorted(changed.tolist())[:20]
    assert [each.before.row for each in found.examples] == first
    for each in found.examples:
        row = each.before.row
        assert (each.before.answer, each.after.answer) == (before[row], after[row])
        assert each.after.row == row
        assert each.before.kept["text"] == f"text {row}"
    assert found.other == other.report


def test_rows_of_one_job_alone_are_left_out(job: AuditedJob, tmp_path: Path):
    shorter = audited(tmp_path, job.rows[:500].copy(), None, kept=["text"])
    found = compare_jobs(finished(job), finished(shorter))
    assert (found.changed.part, found.changed.whole) == (0, 500)
    assert (found.changes, found.examples) == ((), ())


def test_jobs_of_other_files_have_no_row_in_common(job: AuditedJob, tmp_path: Path):
    nothing = audited(tmp_path, random_rows(0), None)
    found = compare_jobs(finished(job), finished(nothing))
    assert found.changed.whole == 0


def test_answers_of_two_kinds_are_not_compared(job: AuditedJob):
    one = finished(job)
    rule = answer_rule(Task.ONE_LABEL, LABELS, decide=["a>=0.9"])
    settings = replace(job.manifest.settings, answer=rule)
    other = replace(one, manifest=replace(job.manifest, settings=settings))
    with pytest.raises(ParameterError, match=r"\(a>=0.9, 3 labels\) are not of one kind: audit them one"):
        compare_jobs(one, other)
