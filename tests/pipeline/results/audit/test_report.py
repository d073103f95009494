import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.guarantee.drift import Drift
from model.guarantee.promise_check import Finding
from model.guarantee.unit import Unit
from pipeline.contract.typed_json import as_plain
from pipeline.results.audit.drift_of_job import drift_of
from pipeline.results.audit.promise import check_promise
from pipeline.results.collected_stats import collect
from tests.pipeline.results.audit.audited_jobs import (
    WORK,
    AuditedJob,
    audited,
    certificate,
    rows_with_errors,
)
from tests.pipeline.results.score_rows import FLOPS, POLICY, random_rows

KEPT = ("text", "other")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> AuditedJob:
    rows = rows_with_errors(2000, num_shadow=700, num_wrong=9)
    rows["text"] = [f"text {row}" for row in range(len(rows))]
    rows["other"] = ["x" * 1000] * len(rows)
    made = certificate(max_disagreement=0.05, tested_by=random_rows(1500, seed=5))
    return audited(tmp_path_factory.mktemp("job"), rows, made, kept=KEPT, is_labelled=True, work=WORK)


def test_the_promise_stands_or_falls_with_the_shadow_sample(job: AuditedJob, tmp_path: Path):
    assert job.report.promise.finding is Finding.STANDS
    assert job.report.agreement.overall.whole == 700
    assert "9 of 700 distinct shadow texts otherwise: 1.29%, at 95% between" in job.report.promise.verdict
    for place, (share, finding, said) in enumerate(
        [
            (0.001, Finding.CONTRADICTED, "9 of 700 distinct shadow texts disagree, more than 0.10%"),
            (0.015, Finding.UNTOLD, "that takes about"),
            (0.0129, Finding.UNTOLD, "nothing contradicts the promise"),
        ]
    ):
        made = certificate(max_disagreement=share, tested_by=random_rows(1500, seed=5))
        report = audited(tmp_path / str(place), job.rows, made).report
        assert report.promise.finding is finding
        assert said in report.promise.verdict


def test_without_a_promise_there_is_none_to_check(job: AuditedJob, tmp_path: Path):
    report = audited(tmp_path / "a", job.rows, None).report
    assert (report.promise.finding, report.promise.parts) == (Finding.NO_PROMISE, ())
    assert (report.drift, report.reference, report.savings.expected) == (None, None, None)
    assert report.labelled is None
    made = replace(certificate(max_disagreement=0.1, tested_by=job.rows), is_certified=False)
    assert audited(tmp_path / "b", job.rows, made).report.promise.finding is Finding.NO_PROMISE


def test_a_sample_of_other_units_tells_nothing(job: AuditedJob, tmp_path: Path):
    manifest = replace(job.manifest, certificate=replace(job.manifest.certificate, unit=Unit.GROUPS))

    stats = collect(job.layout, job.manifest).stats
    found = check_promise(manifest, stats.shadow_texts, stats.names)
    assert found.finding is Finding.NO_PROMISE
    assert "score with --group-column to hold it against one" in found.verdict
    assert drift_of(manifest, stats.sampled_texts) is None


def test_where_the_time_went_is_told_where_it_is_known(job: AuditedJob, tmp_path: Path):
    times = job.report.times
    assert times is not None
    assert (times.num_rows, times.wall_seconds, times.busy_seconds) == (2001, 10, 20)
    assert {part.name: part.share for part in times.parts} == {
        "reading": 0.05, "tokenizing": 0.1, "layers": 0.7, "branches": 0.1, "writing": 0.05,
    }  # fmt: skip
    assert [(each.seconds, each.branch_seconds) for each in times.layers][:2] == [(8, 2), (4, 0)]
    assert audited(tmp_path, job.rows, None).report.times is None


def test_the_figures_are_those_of_the_rows(job: AuditedJob):
    rows, report = job.rows, job.report
    assert (report.job.rows, report.job.rejected.part, report.job.rejected.whole) == (2000, 1, 2001)
    for each in report.exits:
        here = rows[rows["exit_layer"] == each.exit_layer]
        assert each.rows == len(here)
        assert each.mean_uncertainty == pytest.approx(here["uncertainty"].mean(), rel=1e-5)
        assert each.mean_tokens == pytest.approx(here["num_tokens"].mean())
        assert {name: count for name, count in each.called.items() if count} == (
            here["prediction"].value_counts().to_dict()
        )
        expected, _ = np.histogram(here["uncertainty"], bins=np.linspace(0, 1, 21))
        assert np.abs(np.array(each.uncertainty) - expected).sum() <= 2
    assert [each.threshold for each in report.exits] == [*POLICY.thresholds, None]
    tokens = rows["num_tokens"].to_numpy().astype(np.int64)
    run = FLOPS.with_exits(tokens, rows["exit_layer"].to_numpy(), POLICY).sum()
    assert report.savings.found == pytest.approx(FLOPS.full_depth(tokens).sum() / run)
    assert sum(each.rows for each in report.lengths) == 2000
    for each in report.lengths:
        assert each.rows == ((tokens >= each.first) & (tokens <= each.last)).sum()
    assert report.labelled.overall.accuracy.whole == (rows["truth"] >= 0).sum()


def test_rows_to_look_at_come_with_what_was_kept(job: AuditedJob):
    rows, examples = job.rows, job.report.examples
    shadow = rows[rows["teacher_prediction"].notna()]
    wrong = shadow[shadow["prediction"] != shadow["teacher_prediction"]].sort_values("uncertainty")
    assert [each.row for each in examples.wrong] == wrong.index.tolist()
    unsure = shadow.sort_values("uncertainty", ascending=False)[:20]
    assert sorted(each.uncertainty for each in examples.unsure) == sorted(unsure["uncertainty"].tolist())
    for each in (*examples.wrong, *examples.unsure):
        row = rows.loc[each.row]
        assert each.kept == {
            "id": str(each.row), "text": row["text"], "other": "x" * 300 + "...",
        }  # fmt: skip
        assert (each.answer, each.full_depth) == (row["prediction"], row["teacher_prediction"])
        assert (each.exit_layer, each.source) == (row["exit_layer"], "a.csv")


def test_rejected_rows_are_told(job: AuditedJob):
    (rejected,) = job.report.rejected
    assert (rejected.reason, rejected.rows) == ("undecodable", 1)
    (example,) = rejected.examples
    assert (example.source, example.row, example.value) == ("a.csv", 2000, "<b>\\xff\x1b[31m")


def test_drift_is_told_of_other_texts_alone(job: AuditedJob, tmp_path: Path):
    assert job.report.drift.verdict is Drift.NONE
    assert job.report.drift.num_texts == 700
    longer = random_rows(1500, seed=5)
    longer["num_tokens"] = (longer["num_tokens"] * 3).astype(np.int32)
    report = audited(tmp_path, job.rows, certificate(max_disagreement=0.05, tested_by=longer)).report
    assert report.drift.verdict is Drift.DRIFTED
    # The share of unknown ones is another, too.
    drifted = [each.feature.value for each in report.drift.features if each.is_drifted]
    assert drifted == ["tokens", "unknown tokens"]


def test_all_of_it_is_json(job: AuditedJob):
    plain = json.loads(json.dumps(as_plain(job.report)))
    assert plain["promise"]["finding"] == "stands"
    assert plain["agreement"]["overall"]["part"] == 691
    assert sum(each["rows"] for each in plain["exits"]) == 2000
    assert plain["drift"]["features"][0]["calibration"]["counts"]


def test_a_job_without_rows_has_a_report(tmp_path: Path):
    made = certificate(max_disagreement=0.05, tested_by=random_rows(1500, seed=5))
    report = audited(tmp_path, pd.DataFrame(random_rows(0)), made).report
    assert (report.job.rows, report.savings.found, report.lengths) == (0, 1.0, ())
    assert report.promise.finding is Finding.UNTOLD
    assert "its shadow sample is empty" in report.promise.verdict
    assert report.drift.verdict is Drift.UNTOLD
