"""Files that a command leaves for people: each whole or not at all, in a directory that may be anywhere."""

from collections.abc import Callable
from typing import BinaryIO

from apache_beam.io.filesystems import FileSystems

from model.errors import OutputError
from model.messages import one_line
from pipeline.contract.layout import OutputLayout
from pipeline.contract.storage import exists, make_directory, write_atomically


def check_holds_no_job(directory: str) -> None:
    """Refuse the directory of a job's shards: what lies beside these, readers of Parquet take for one.

    Raises:
        OutputError: if it is one.
    """
    try:
        is_of_job = exists(OutputLayout(directory).job)
    except OSError as error:
        raise OutputError(f"{directory!r} cannot be read: {one_line(error)}") from error
    if is_of_job:
        raise OutputError(
            f"{directory!r} holds the shards of a job, which could not be read any more beside other files; "
            "choose another `output`"
        )


def write_result(
    directory: str,
    name: str,
    write: Callable[[BinaryIO], object],
    *,
    mime_type: str = "application/octet-stream",
) -> str:
    """Write a file into a directory, which is made if it is not there, and return its path.

    Args:
        directory: here, or on any file system that Beam knows.
        name: of the file.
        write: is given the file.
        mime_type: for a store that keeps one.

    Raises:
        OutputError: if it cannot be written.
    """
    path = str(FileSystems.join(directory, name))
    try:
        make_directory(directory)
        write_atomically(path, write, mime_type=mime_type)
    except OSError as error:
        reason = one_line(error)
        raise OutputError(f"{directory!r} cannot be written: {reason}; choose another `output`") from error
    return path
