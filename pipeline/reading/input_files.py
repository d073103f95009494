"""Finding input files, telling their format, and opening them, wherever Beam's FileSystems reach."""

import gzip
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from model.checks import is_unicode
from model.errors import InputError, OutputError, ParameterError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.storage import basename, exists, is_local, match_files, one_spelling
from pipeline.contract.store_errors import store_errors
from pipeline.reading.local_files import match_glob, matches_glob, names_in, regular_file
from pipeline.reading.read_errors import read_errors_as_input_error

PARQUET = "parquet"
JSONL = "jsonl"
CSV = "csv"
TSV = "tsv"
FORMATS: tuple[str, ...] = (PARQUET, JSONL, CSV, TSV)

_EXTENSIONS = {".parquet": PARQUET, ".jsonl": JSONL, ".ndjson": JSONL, ".csv": CSV, ".tsv": TSV}
_GZIP = ".gz"
_SHOWN_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One file of the input.

    Attributes:
        path: as Beam's FileSystems spell it.
        format: one of `FORMATS`.
        size: in bytes.
    """

    path: str
    format: str
    size: int


def find_files(patterns: Sequence[str], *, format: str | None = None) -> list[InputFile]:
    """List the files that the patterns name, each once, sorted by path.

    Args:
        patterns: paths, globs or directories; an existing path is taken as it stands, even if it reads
            like a glob. Of a directory, every file in it whose name starts with neither ``_`` nor ``.``.
        format: one of `FORMATS` for all files, whatever their extensions; None to go by these.

    Raises:
        ParameterError: there is no such format.
        InputError: a pattern matches nothing, a directory holds directories or files of unknown extensions, a
            file's format is unknown, its name is no text, or it is no regular file.
    """
    if format is not None and format not in FORMATS:
        raise ParameterError(f"`format` {format}: unknown, choose from {', '.join(FORMATS)}")
    found: dict[str, FileMetadata] = {}
    for pattern in patterns:
        with read_errors_as_input_error(pattern):
            matches = _match(pattern, any_extension=format is not None)
        if not matches:
            raise InputError(f"no file matches {pattern!r}")
        # However a local file is spelt, it is read once, under its first spelling.
        for file in matches:
            _check_is_text(file.path)
            found.setdefault(one_spelling(file.path), file)
    return [
        InputFile(path=file.path, format=_format_of(file.path, format), size=file.size_in_bytes)
        for file in sorted(found.values(), key=lambda file: str(file.path))
    ]


def check_reads_no_output(patterns: Sequence[str], output: str) -> None:
    """Refuse an output directory whose shards the same patterns would read when the command is run again.

    Args:
        patterns: as `find_files` takes them.
        output: directory of the shards.

    Raises:
        OutputError: naming both.
    """
    for pattern in patterns:
        if is_local(pattern) != is_local(output):
            continue
        if _would_read(pattern, output):
            raise OutputError(
                f"{output!r} lies in what `input` {pattern} reads, and would be read with it when the "
                "command is run again; choose another `output`"
            )


def _would_read(pattern: str, output: str) -> bool:
    if not is_local(pattern):
        if not pattern.partition("://")[2].strip("/"):
            # It names nothing, which is told when it is looked for.
            return False
        below = output.removeprefix(pattern.rstrip("/") + "/")
        return (below != output and _is_read(below)) or _is_matched(output.rstrip("/"), pattern)
    # However both are spelt.
    directory, read = Path(output).resolve(), Path(pattern).resolve()
    if read.is_dir():
        return directory.is_relative_to(read) and _is_read(str(directory.relative_to(read)))
    if os.path.lexists(pattern):
        return False
    return _is_matched(str(directory), str(read))


def _is_matched(directory: str, glob: str) -> bool:
    """Return whether a glob matches a directory, or a shard in it."""
    return any(matches_glob(path, glob) for path in (directory, f"{directory}/part.parquet"))


def _is_read(name: str) -> bool:
    """Return whether a name in a directory of inputs is of one."""
    return not name.startswith(("_", "."))


def _check_is_text(path: str) -> None:
    """Refuse a name of arbitrary bytes: column `source` and the manifest are UTF-8."""
    if not is_unicode(path):
        raise InputError(f"{path!r}: its name is not UTF-8: rename it")


def is_compressed(path: str) -> bool:
    """Return whether `path` is read through gzip, as its name says."""
    return path.lower().endswith(_GZIP)


@contextmanager
def open_input(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading its uncompressed bytes; seekable.

    Beam's own decompression takes a file that breaks off for one that ends; Python's notices.

    Raises:
        InputError: the file cannot be opened.
    """
    with read_errors_as_input_error(path), store_errors(path):
        raw = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    with store_errors(path), raw as file:
        if not is_compressed(path):
            yield file
            return
        with gzip.GzipFile(fileobj=file, mode="rb") as decompressed:
            yield cast(BinaryIO, decompressed)


def _format_of(path: str, override: str | None) -> str:
    override = override or _known_format(path)
    if override is None:
        known = ", ".join(_EXTENSIONS)
        raise InputError(f"{path}: unknown extension, neither {known} nor a text one with .gz: say `format`")
    if override == PARQUET and is_compressed(path):
        raise InputError(f"{path}: Parquet inside gzip cannot be read: decompress it")
    return override


def _match(pattern: str, *, any_extension: bool) -> list[FileMetadata]:
    if not pattern:
        return []
    if pattern.endswith("/") or Path(pattern).is_dir():
        return _list_directory(pattern, any_extension=any_extension)
    if is_local(pattern):
        paths = [pattern] if os.path.lexists(pattern) else match_glob(pattern)
        return [regular_file(path) for path in paths]
    if exists(pattern):
        return [file for file in _glob(_without_wildcards(pattern)) if file.path == pattern]
    # On an object store a directory does not exist, but files under its name do.
    return _glob(pattern) or _list_directory(pattern, any_extension=any_extension)


def _list_directory(directory: str, *, any_extension: bool) -> list[FileMetadata]:
    prefix = directory.rstrip("/") + "/"
    if is_local(directory):
        names = _names_to_read(prefix, names_in(prefix), any_extension=any_extension)
        return [regular_file(prefix + name) for name in names]
    below = {
        file.path.removeprefix(prefix): file
        for file in _glob(_without_wildcards(prefix) + "**")
        if file.path.startswith(prefix)
    }
    heads = {head + slash for head, slash, _ in (name.partition("/") for name in below)}
    return [below[name] for name in _names_to_read(prefix, heads, any_extension=any_extension)]


def _names_to_read(prefix: str, names: Collection[str], *, any_extension: bool) -> list[str]:
    """Return which names in a directory are read, and refuse it if others are left out.

    Names of directories end in a slash.
    Names that begin with ``_`` or ``.`` are skipped, as all readers of Parquet skip them, and so are the
    rejected rows in an output of ours, which stand beside its scores.
    """
    output = OutputLayout(prefix)
    is_of_job = basename(output.job) in names
    if is_of_job and basename(output.manifest) not in names:
        raise InputError(
            f"{prefix}: is the output of a job that is not finished: run its command again, or give a glob "
            "for what is there"
        )
    skipped = [basename(output.rejected_directory) + "/"] if is_of_job else []
    shown = sorted(name for name in names if name and _is_read(name) and name not in skipped)
    left_out = [name for name in shown if name.endswith("/") or not (any_extension or _known_format(name))]
    if left_out:
        listed = ", ".join([*left_out[:_SHOWN_NAMES], *(["..."] if len(left_out) > _SHOWN_NAMES else [])])
        glob = _without_wildcards(prefix)
        raise InputError(
            f"{prefix}: not all in it would be read: {listed}; give a glob, such as '{glob}*.parquet' for "
            f"files in it, or '{glob}**.parquet' for those below too"
        )
    return shown


def _known_format(path: str) -> str | None:
    return _EXTENSIONS.get(PurePosixPath(path.lower().removesuffix(_GZIP)).suffix)


def _without_wildcards(path: str) -> str:
    """Return a glob that matches `path`; Beam has no way to quote, and ``?`` stands for any character."""
    return re.sub(r"[\[*?]", "?", path)


def _glob(pattern: str) -> list[FileMetadata]:
    return match_files(pattern)
