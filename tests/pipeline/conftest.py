from tests.job_fixtures import fastbert, teacher

__all__ = ["fastbert", "teacher"]
