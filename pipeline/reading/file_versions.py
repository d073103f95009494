"""What tells a file's content, and whether it is still the file that the job was planned for."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from model.errors import InputError
from pipeline.contract.storage import is_local
from pipeline.contract.store_errors import store_errors
from pipeline.reading.read_errors import read_errors_as_input_error


def checksum(path: str) -> str:
    """Return what tells a file's content, however long it is.

    Of a local file it is hex SHA-256 of all its bytes, as `sha256sum` prints it. Elsewhere it is what the
    store keeps beside the file, for to read terabytes over a network could take longer than the job: CRC32C
    of Google's, the ETag of Amazon's and Azure's, the checksum of HDFS.

    Raises:
        InputError: the file cannot be read.
    """
    if not is_local(path):
        return version(path)
    with read_errors_as_input_error(path), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version(path: str) -> str:
    """Return what is another where a file was written to: size and time of a local one, else `checksum`.

    Raises:
        InputError: there is no such file.
    """
    with read_errors_as_input_error(path):
        if not is_local(path):
            with store_errors(path):
                return str(FileSystems.checksum(path))
        status = Path(path).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


@contextmanager
def unchanged(path: str, planned: str | None) -> Iterator[None]:
    """Make sure that a file is one version from before it is read until it has been.

    Args:
        path: the file.
        planned: its `version` when the job was planned; None where nobody asked.

    Raises:
        InputError: it changed, or is gone.
    """
    _check(path, planned)
    try:
        yield
    except InputError:
        # What was read made no sense because it changed.
        _check(path, planned)
        raise
    _check(path, planned)


def changed(path: str) -> InputError:
    """Return the error that a file is not the one that the job was planned for."""
    return InputError(f"{path}: changed since the job was planned: start the job afresh")


def _check(path: str, planned: str | None) -> None:
    if planned is not None and version(path) != planned:
        raise changed(path)
