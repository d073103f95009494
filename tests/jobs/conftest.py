from tests.job_fixtures import command, fastbert, many_labels, teacher, two_labels

__all__ = ["command", "fastbert", "many_labels", "teacher", "two_labels"]
