from tests.job_fixtures import command, fastbert, lexical_fastbert, many_labels, teacher, two_labels
from tests.jobs.forked_workers import forked_workers

__all__ = [
    "command", "fastbert", "forked_workers", "lexical_fastbert", "many_labels", "teacher", "two_labels",
]  # fmt: skip
