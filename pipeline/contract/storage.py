"""Files on any file system that Beam knows: listed, removed, written whole or not at all."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from apache_beam.io.filesystems import FileSystems

from model.errors import FastBertJobsError, OutputError
from model.messages import one_line


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
    except (ValueError, OSError) as error:
        raise error_type(f"{path!r} cannot be used: {one_line(error)}") from error


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


def list_files(pattern: str) -> list[str]:
    """Return the paths that match a pattern, none where there is nothing."""
    (match,) = FileSystems.match([pattern])
    return [metadata.path for metadata in match.metadata_list]


def delete_files(paths: list[str]) -> None:
    """Remove those of some files that are there."""
    for path in paths:
        if FileSystems.exists(path):
            FileSystems.delete([path])


def delete_directory(path: str) -> None:
    """Remove a directory and what is in it, if it is there."""
    if not FileSystems.get_filesystem(path).has_dirs():
        # On an object store only the files exist, their names beginning with the directory's.
        delete_files(list_files(FileSystems.join(path, "**")))
    elif FileSystems.exists(path):
        FileSystems.delete([path])


def basename(path: str) -> str:
    """Return the last part of a path."""
    return str(FileSystems.split(path)[1])


def make_directory(path: str) -> None:
    """Create a directory and its parents unless it is there."""
    try:
        FileSystems.mkdirs(path)
    except OSError:
        # Beam raises where it exists; another worker may have made it a moment ago.
        if not FileSystems.exists(path):
            raise


def read_json(path: str) -> dict[str, object]:
    """Return the JSON object in a file.

    Raises:
        ValueError: if it holds anything else.
    """
    with FileSystems.open(path) as file:
        content: object = json.loads(file.read())
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content


def write_json(path: str, content: Mapping[str, object]) -> None:
    """Write a JSON object whole or not at all, keys sorted, so that equal content is equal bytes."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()), mime_type="application/json")


def partial_path(path: str) -> str:
    """Return where a file is until it is whole; a killed process leaves it there."""
    return path + ".partial"


def write_atomically(
    path: str, write: Callable[[BinaryIO], object], *, mime_type: str = "application/octet-stream"
) -> None:
    """Write a file whole or not at all: `write` is given it under another name, which is then changed."""
    partial = partial_path(path)
    with FileSystems.create(partial, mime_type=mime_type) as file:
        write(file)
    FileSystems.rename([partial], [path])
