import errno

import pytest
from apache_beam.io.filesystem import BeamIOError

from pipeline.contract.store_errors import store_errors


class ClientError(Exception):
    """What Google's, Amazon's and others' libraries raise; they are known by their modules."""

    __module__ = "google.api_core.exceptions"

    def __init__(self, message: str, code: object = None) -> None:
        super().__init__(message)
        self.code = code


@pytest.mark.parametrize(
    ("code", "kind", "number"),
    [
        (404, FileNotFoundError, errno.ENOENT),
        ("404", FileNotFoundError, errno.ENOENT),
        (403, PermissionError, errno.EACCES),
        (401, PermissionError, errno.EACCES),
    ],
)
def test_what_a_store_says_is_what_a_disk_would_say(code: object, kind: type[OSError], number: int):
    with pytest.raises(kind, match="gs://bucket/a") as error, store_errors("gs://bucket/a"):
        raise ClientError("no", code)
    assert error.value.errno == number
    assert isinstance(error.value.__cause__, ClientError)


@pytest.mark.parametrize("code", [503, None, "SlowDown", object()])
def test_what_may_pass_is_an_error_of_storage(code: object):
    with pytest.raises(BeamIOError, match=r"^gs://bucket/a: try again later"), store_errors("gs://bucket/a"):
        raise ClientError("try again\nlater", code)


@pytest.mark.parametrize("error", [KeyError("a"), ValueError("b"), FileNotFoundError(2, "c")])
def test_what_others_raise_is_left_alone(error: Exception):
    with pytest.raises(type(error)) as found, store_errors("gs://bucket/a"):
        raise error
    assert found.value is error


def test_what_beam_wraps_is_told_by_its_cause():
    inner = BeamIOError("List operation failed", {"gs://bucket/": ClientError("gone", 404)})
    with pytest.raises(FileNotFoundError, match="gs://bucket/a"), store_errors("gs://bucket/a"):
        raise BeamIOError("Match operation failed", {"gs://bucket/**": inner})
    with pytest.raises(BeamIOError, match=r"^Delete failed"), store_errors("gs://bucket/a"):
        raise BeamIOError("Delete failed", {"gs://bucket/a": "for some reason"})


@pytest.mark.parametrize("words", ["GCS path must be in the form gs://", "Bucket names must be"])
def test_a_url_that_is_none_is_an_error_of_storage(words: str):
    with pytest.raises(OSError, match=r"^gs://: "), store_errors("gs://"):
        raise ValueError(words)
