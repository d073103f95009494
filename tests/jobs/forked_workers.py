"""Worker processes forked off one that has imported everything, which takes a fresh one seconds each.

How they are started is the claim of tests/jobs/driver/test_worker_processes.py, which starts fresh ones;
here it is what they do.
"""

from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

import pytest

_IMPORTED = (
    "jobs.commands.score",
    "tests.pipeline.transforms.shout_jobs",
    "transformers.models.bert.modeling_bert",
)


def fork_context() -> ForkServerContext:
    """Return what forks processes off that one."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--workers` starts forked processes meanwhile."""
    monkeypatch.setattr("jobs.driver.worker_processes.get_context", lambda _: fork_context())
