"""Files on any file system that Beam knows: listed, removed, written whole or not at all."""

import json
from collections.abc import Callable, Mapping
from typing import BinaryIO

from apache_beam.io.filesystems import FileSystems


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


def write_atomically(
    path: str, write: Callable[[BinaryIO], object], *, mime_type: str = "application/octet-stream"
) -> None:
    """Write a file whole or not at all: `write` is given it under another name, which is then changed."""
    partial = path + ".partial"
    with FileSystems.create(partial, mime_type=mime_type) as file:
        write(file)
    FileSystems.rename([partial], [path])
