from dataclasses import replace

import pytest

from jobs.driver.distill_setup import check_same_job
from model.engine.execution import Precision
from model.errors import EnvironmentMismatchError
from model.training.ranks import ONE_PROCESS
from tests.jobs.driver.test_distill_metrics import JOB
from tests.model.training.thread_ranks import run_ranks


def test_equal_jobs_go_together():
    check_same_job(JOB, ONE_PROCESS)
    run_ranks(2, lambda ranks: check_same_job(JOB, ranks))


def test_a_process_that_would_train_otherwise_says_so():
    jobs = [JOB, replace(JOB, precision=Precision.BF16)]
    with pytest.raises(
        EnvironmentMismatchError,
        match=r"^process 1 of 2 would not .* differ in precision \(fp32 there, bf16 asked for\)$",
    ):
        run_ranks(2, lambda ranks: check_same_job(jobs[ranks.rank], ranks))
