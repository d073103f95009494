"""Files on any file system that Beam knows: listed, removed, written whole or not at all.

A path is a literal name. Beam takes every path that it lists or removes for a glob, so that of a local one
Python's own means are used, and a directory elsewhere may have no wildcard in its name.
"""

import fnmatch
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from model.errors import FastBertJobsError, OutputError
from model.messages import one_line
from pipeline.contract.store_errors import store_errors

# Of JSON, written at once: names, numbers and commas.
_PIECES = 1 << 16

# File systems on which a name that is taken cannot be given to another file.
_RENAMES_ONTO_NOTHING = ("hdfs://",)


def check_file_system(path: str, error_type: type[FastBertJobsError] = OutputError) -> None:
    """Refuse a path on a file system that Beam does not know, or lacks a library for.

    Args:
        path: of any file or directory.
        error_type: what is raised.

    Raises:
        FastBertJobsError: an `error_type`, saying what is missing.
    """
    try:
        FileSystems.get_filesystem(path)
    except (ValueError, OSError, ImportError) as error:
        raise error_type(f"{path!r} cannot be used: {one_line(error)}") from error
    if not is_local(path) and not path.partition("://")[2].strip("/"):
        raise error_type(f"{path!r} cannot be used: it names no bucket and no directory")
    if not is_local(path) and re.search(r"[*?\[]", path):
        raise error_type(f"{path!r} cannot be used: *, ? and [ stand for other names there; give another")


def check_output_directory(path: str) -> None:
    """Refuse what can be no output directory, before the work is done that it is for.

    Raises:
        OutputError: if it is on no file system that can be used, is a file, or lies below one.
    """
    check_file_system(path)
    for place in (path, *map(str, Path(path).parents)):
        if os.path.isfile(place):  # noqa: PTH113 - pathlib's raises where a parent may not be searched
            where = "" if place == path else f"cannot be written: {place!r} "
            raise OutputError(f"{path!r} {where}is a file; choose another `output`")


def is_local(path: str) -> bool:
    """Return whether a path is one of this machine's, and no URL."""
    return FileSystems.get_scheme(path) is None


def one_spelling(path: str) -> str:
    """Return the same text for a file or directory of this machine however it is spelt; a URL as it is."""
    return os.path.realpath(path) if is_local(path) else path


def list_names(directory: str, pattern: str = "*") -> list[str]:
    """Return the names in a directory that match a pattern, sorted; none where there is no directory."""
    if is_local(directory):
        try:
            names = os.listdir(directory)  # noqa: PTH208 - names are wanted
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(fnmatch.filter(names, pattern))
    return sorted(map(basename, _match(FileSystems.join(directory, pattern))))


def has_files(directory: str, *, but: str) -> bool:
    """Return whether there is any file in a directory or below, one called `but` left out."""
    if is_local(directory):
        return any(name != but for _, _, names in os.walk(directory) for name in names)
    return any(basename(path) != but for path in _match(FileSystems.join(directory, "**")))


def _match(pattern: str) -> list[str]:
    return [metadata.path for metadata in match_files(pattern)]


def match_files(pattern: str) -> list[FileMetadata]:
    """Return the files whose names match a glob, as Beam tells them.

    Raises:
        OSError: if they cannot be listed.
    """
    with store_errors(pattern):
        (match,) = FileSystems.match([pattern])
        return list(match.metadata_list)


def exists(path: str) -> bool:
    """Return whether there is a file; of a local directory too.

    Raises:
        OSError: if a store does not tell.
    """
    with store_errors(path):
        return bool(FileSystems.exists(path))


@contextmanager
def open_file(path: str, compression_type: str = CompressionTypes.AUTO) -> Iterator[BinaryIO]:
    """Open a file for reading; what goes wrong with it while it is open is an OSError.

    Args:
        path: its name.
        compression_type: how it is decompressed; by its extension where nothing is said.

    Raises:
        OSError: if it cannot be opened or read.
    """
    with store_errors(path), FileSystems.open(path, compression_type=compression_type) as file:
        yield cast(BinaryIO, file)


def delete_files(paths: list[str]) -> None:
    """Remove those of some files that are there."""
    for path in paths:
        if is_local(path):
            Path(path).unlink(missing_ok=True)
        elif exists(path):
            _delete(path)


def delete_directory(path: str) -> None:
    """Remove a directory and what is in it, if it is there."""
    if is_local(path):
        if Path(path).exists():
            shutil.rmtree(path)
    elif not FileSystems.get_filesystem(path).has_dirs():
        # On an object store only the files exist, their names beginning with the directory's.
        delete_files(_match(FileSystems.join(path, "**")))
    elif exists(path):
        _delete(path)


def _delete(path: str) -> None:
    with store_errors(path):
        FileSystems.delete([path])


def basename(path: str) -> str:
    """Return the last part of a path."""
    return str(FileSystems.split(path)[1])


def make_directory(path: str) -> None:
    """Create a directory and its parents unless it is there."""
    if is_local(path):
        Path(path).mkdir(parents=True, exist_ok=True)
        return
    try:
        with store_errors(path):
            FileSystems.mkdirs(path)
    except OSError:
        # Beam raises where it exists; another worker may have made it a moment ago.
        if not exists(path):
            raise


def read_json(path: str) -> dict[str, object]:
    """Return the JSON object in a file.

    Raises:
        ValueError: if it holds anything else.
    """
    with open_file(path) as file:
        try:
            content: object = json.loads(file.read())
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content


def write_json(path: str, content: Mapping[str, object], *, partial: str | None = None) -> None:
    """Write a JSON object whole or not at all, keys sorted, so that equal content is equal bytes.

    A manifest may be a gigabyte long, so that it is never in memory as a whole.

    Args:
        path: of the file.
        content: of it.
        partial: where it is until it is whole; None for beside `path`.
    """
    pieces = json.JSONEncoder(indent=1, sort_keys=True, ensure_ascii=False).iterencode(content)
    with atomic_file(path, partial or partial_path(path), mime_type="application/json") as file:
        while some := list(islice(pieces, _PIECES)):
            file.write("".join(some).encode())
        file.write(b"\n")


def partial_path(path: str) -> str:
    """Return where a file is until it is whole; a killed process leaves it there."""
    return path + ".partial"


def write_atomically(
    path: str, write: Callable[[BinaryIO], object], *, mime_type: str = "application/octet-stream"
) -> None:
    """Write a file whole or not at all: `write` is given it under another name, which is then changed."""
    with atomic_file(path, partial_path(path), mime_type=mime_type) as file:
        write(file)


@contextmanager
def atomic_file(
    path: str, partial: str, *, mime_type: str = "application/octet-stream"
) -> Iterator[BinaryIO]:
    """Yield a file called `partial`, which takes the name `path` when it is whole; removed if it fails.

    A local file is on the disk itself before it takes its name: a power cut leaves no half of one.
    """
    try:
        if is_local(path):
            with Path(partial).open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(path)
            sync(Path(path).parent)
            return
        with store_errors(path):
            with FileSystems.create(partial, mime_type=mime_type) as remote:
                yield cast(BinaryIO, remote)
            if path.startswith(_RENAMES_ONTO_NOTHING):
                delete_files([path])
            FileSystems.rename([partial], [path])
    except BaseException:
        delete_files([partial])
        raise


def sync(path: Path) -> None:
    """Have a local file, or the names in a directory, on the disk and not only in the system's memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
