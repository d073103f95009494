"""What goes wrong in reading a file, in one line."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from model.errors import FastBertJobsError, InputError
from model.messages import one_line


@contextmanager
def read_errors_as_input_error(path: str) -> Iterator[None]:
    """Turn whatever goes wrong in reading `path` into one line that names it.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        yield
    except FastBertJobsError:
        raise
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise InputError(f"{path}: cannot be read: {reason}") from error
