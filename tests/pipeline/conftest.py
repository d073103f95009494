from tests.job_fixtures import fastbert, lexical_fastbert, teacher

__all__ = ["fastbert", "lexical_fastbert", "teacher"]
