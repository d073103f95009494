"""What object stores raise, as what a local disk raises in their place."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.io.filesystem import BeamIOError

from model.messages import one_line

# Clients that have errors of their own; Beam hands them on.
_CLIENTS = ("google.", "apache_beam.io.aws.", "botocore.", "azure.", "hdfs.", "requests.", "urllib3.")
_WORDS_OF_NAMES = ("path must be in the form", "Bucket names must")
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
        cause = _first_cause(error)
        if not f"{type(cause).__module__}.".startswith(_CLIENTS) and not _is_of_name(cause):
            raise
        number = _MEANINGS.get(_code(cause))
        if number is None:
            raise BeamIOError(f"{path}: {one_line(cause)}") from error
        # Python chooses the class by the number.
        raise OSError(number, os.strerror(number), path) from error


def _first_cause(error: Exception) -> Exception:
    """Return the error that Beam tells inside its own of several files, and that inside another."""
    while isinstance(error, BeamIOError) and error.exception_details:
        inner = next(iter(error.exception_details.values()))
        if not isinstance(inner, Exception):
            break
        error = inner
    return error


def _is_of_name(error: Exception) -> bool:
    """Return whether a URL is none: Beam finds no bucket or no name in it, or Google no name of a bucket."""
    return type(error) is ValueError and any(words in str(error) for words in _WORDS_OF_NAMES)


def _code(error: Exception) -> int:
    try:
        return int(getattr(error, "code", None) or 0)
    except (TypeError, ValueError):
        return 0
