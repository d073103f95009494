"""What object stores raise, as what a local disk raises in their place."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.io.filesystem import BeamIOError

from model.messages import one_line

# Clients that have errors of their own; Beam hands them on.
_CLIENTS = ("google.", "apache_beam.io.aws.", "botocore.", "azure.", "hdfs.", "requests.", "urllib3.")
_MEANINGS = {404: errno.ENOENT, 401: errno.EACCES, 403: errno.EACCES}


@contextmanager
def store_errors(path: str) -> Iterator[None]:
    """Raise what an object store raises inside as an OSError.

    Args:
        path: what is read or written there, for the message.

    Raises:
        FileNotFoundError: if the store has no such file or bucket.
        PermissionError: if it does not let us.
        BeamIOError: an OSError too, if anything else is wrong with it, which may pass.
    """
    try:
        yield
    except Exception as error:
        if not f"{type(error).__module__}.".startswith(_CLIENTS):
            raise
        number = _MEANINGS.get(_code(error))
        if number is None:
            raise BeamIOError(f"{path}: {one_line(error)}") from error
        # Python chooses the class by the number.
        raise OSError(number, os.strerror(number), path) from error


def _code(error: Exception) -> int:
    try:
        return int(getattr(error, "code", None) or 0)
    except (TypeError, ValueError):
        return 0
