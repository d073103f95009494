"""Files of the local file system, found by globs and in directories.

Beam's own search knows no globs of the working directory, and leaves out names with a backslash, links to
nothing, and what lies behind a link or in a directory that may not be listed.
"""

import os
import re
import stat
from pathlib import Path

from apache_beam.io.filesystem import FileMetadata, FileSystem

from model.errors import InputError
from pipeline.reading.read_errors import read_errors_as_input_error


def regular_file(path: str) -> FileMetadata:
    """Return a file's path and size.

    Raises:
        InputError: there is none, a link leads nowhere, or it is a pipe, a socket or a device: these may
            never end, and cannot be read twice.
    """
    with read_errors_as_input_error(path):
        status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is no regular file: write what it holds into one")
    return FileMetadata(path, status.st_size)


def names_in(directory: str) -> list[str]:
    """Return the names in a directory, sorted, a slash behind those of directories; none where there is none.

    Raises:
        InputError: it cannot be listed.
    """
    with read_errors_as_input_error(directory):
        if not Path(directory).is_dir():
            return []
        with os.scandir(directory) as entries:
            return sorted(entry.name + "/" * Path(entry.path).is_dir() for entry in entries)


def match_glob(pattern: str) -> list[str]:
    """Return the paths that a glob matches, without those of directories.

    Globs are Beam's: ``**`` goes on behind a slash, ``*`` does not, and both match names that start with a
    dot. Links to directories are followed, but not by ``**``, which might then find no end.

    Raises:
        InputError: a directory in which files may match cannot be listed.
    """
    parts = pattern.split("/")
    found: list[str] = []

    def search(directory: str) -> None:
        for name in names_in(directory or "."):
            path = directory + name
            if not name.endswith("/"):
                found.extend([path] if matches_glob(path, pattern) else [])
            elif leads_on(path):
                search(path)

    def leads_on(directory: str) -> bool:
        depth = directory.count("/")
        head = "/".join(parts[:depth])
        if "**" in head:
            return not Path(directory[:-1]).is_symlink()
        return depth < len(parts) and matches_glob(directory[:-1], head)

    before_wildcards = re.split(r"[\[*?]", pattern, maxsplit=1)[0]
    search(before_wildcards[: before_wildcards.rfind("/") + 1])
    return found


def matches_glob(path: str, pattern: str) -> bool:
    """Return whether a glob matches a path; to Beam a backslash is a slash, which ends ``*``."""
    plain = "\0"  # which is in no path
    regex = FileSystem.translate_pattern(pattern.replace("\\", plain))
    return re.match(regex, path.replace("\\", plain)) is not None
