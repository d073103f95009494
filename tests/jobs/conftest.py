from tests.job_fixtures import command, fastbert, lexical_fastbert, many_labels, teacher, two_labels

__all__ = ["command", "fastbert", "lexical_fastbert", "many_labels", "teacher", "two_labels"]
