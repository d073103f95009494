from dataclasses import replace

import pytest

from tests.jobs.report.sample_page import HOSTILE
from tests.pipeline.results.audit.audited_jobs import (
    WORK,
    AuditedJob,
    audited,
    certificate,
    rows_with_errors,
)
from tests.pipeline.results.score_rows import random_rows


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> AuditedJob:
    """A job that keeps its promise, of texts that would like to do something, with true labels."""
    rows = rows_with_errors(2000, num_shadow=700, num_wrong=9)
    # Parquet holds no halves of letters.
    rows["text"] = HOSTILE.encode("utf-8", "ignore").decode()
    made = certificate(max_disagreement=0.05, tested_by=random_rows(1500, seed=5))
    made = replace(made, target_speedup=2.0)
    return audited(tmp_path_factory.mktemp("job"), rows, made, kept=["text"], is_labelled=True, work=WORK)


@pytest.fixture(scope="session")
def bare_job(job: AuditedJob, tmp_path_factory: pytest.TempPathFactory) -> AuditedJob:
    """The same rows, of which nothing was promised or is known, and no texts were kept."""
    return audited(tmp_path_factory.mktemp("bare"), job.rows, None)


@pytest.fixture(scope="session")
def empty_job(tmp_path_factory: pytest.TempPathFactory) -> AuditedJob:
    """A job of no rows."""
    return audited(tmp_path_factory.mktemp("empty"), random_rows(0), None)


@pytest.fixture(scope="session")
def drifted_job(job: AuditedJob, tmp_path_factory: pytest.TempPathFactory) -> AuditedJob:
    """The same rows, under a certificate of longer ones."""
    longer = random_rows(1500, seed=5)
    longer["num_tokens"] *= 3
    made = certificate(max_disagreement=0.05, tested_by=longer)
    return audited(tmp_path_factory.mktemp("drifted"), job.rows, made)
