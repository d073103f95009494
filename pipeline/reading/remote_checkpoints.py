"""Checkpoints by whatever a user calls them: a directory, a hub name, or the URL of an object store.

What lies in a store is copied to this machine, once for all of its processes, under a name that is made of
the URL and the store's versions of the files: another checkpoint at the same URL is another copy.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from model.checkpoints.fingerprint import PICKLED_WEIGHT_FILES, WEIGHT_FILES
from model.checkpoints.hub import CHECKPOINT_FILES, resolve_checkpoint
from model.errors import CheckpointError, FastBertJobsError, InputError
from model.messages import one_line
from pipeline.contract.storage import basename, check_file_system, is_local, match_files, open_file, sync
from pipeline.reading.file_versions import version

# Where copies are kept; nothing removes them.
CACHE_VARIABLE = "FASTBERT_JOBS_CACHE"


class _StoredFile(NamedTuple):
    """A file of a checkpoint in a store: its URL, its size in bytes, and the store's version of it."""

    path: str
    size: int
    version: str


def find_checkpoint(name: str) -> Path:
    """Return the local directory of a checkpoint; see `resolve_checkpoint` for what is no URL.

    Args:
        name: a directory, a hub name, or a URL such as `gs://bucket/fastbert`; of a URL it is a copy.

    Raises:
        CheckpointError: if there is none, or it cannot be copied.
    """
    if is_local(name):
        return resolve_checkpoint(name)
    check_file_system(name, CheckpointError)
    try:
        files = _list(name)
        return resolve_checkpoint(str(_copy_once(name, files)))
    except (OSError, InputError) as error:
        raise CheckpointError(f"the checkpoint {name!r} cannot be copied: {one_line(error)}") from error


def find_on_worker(directory: str, name: str) -> Path:
    """Return where a worker has a job's checkpoint.

    Args:
        directory: where the driver has it, which on the same machine, or one with the same disk, is there.
        name: what the user calls it.

    Raises:
        CheckpointError: if it is a directory that a worker does not have, or it cannot find it by its name.
    """
    if Path(directory).is_dir():
        return resolve_checkpoint(directory)
    if Path(name) == Path(directory):
        # Of a directory's name the hub may have another's model.
        raise CheckpointError(
            f"a worker has no model directory {name!r}; give one that all machines see, or a URL"
        )
    try:
        return find_checkpoint(name)
    except FastBertJobsError as error:
        raise CheckpointError(f"a worker cannot find {name!r}: {error}") from error


def _list(url: str) -> list[_StoredFile]:
    """Return the files of a checkpoint, pickled weights only where there are no others.

    Raises:
        CheckpointError: if there is no checkpoint.
        OSError: if the store does not answer.
    """
    found = {basename(file.path): file for file in match_files(FileSystems.join(url, "*"))}
    patterns: Sequence[str] = CHECKPOINT_FILES
    if not any(fnmatch(name, pattern) for name in found for pattern in WEIGHT_FILES):
        patterns = (*CHECKPOINT_FILES, *PICKLED_WEIGHT_FILES)
    names = sorted(name for name in found if any(fnmatch(name, pattern) for pattern in patterns))
    if "config.json" not in names:
        raise CheckpointError(f"{url!r} is no model directory: it has no config.json")
    return [
        _StoredFile(found[name].path, found[name].size_in_bytes, version(found[name].path)) for name in names
    ]


def _copy_once(url: str, files: Sequence[_StoredFile]) -> Path:
    """Return the directory of a copy, made unless it is there already."""
    digest = hashlib.sha256(url.rstrip("/").encode())
    for file in files:
        digest.update(f"\n{basename(file.path)}\0{file.size}\0{file.version}".encode())
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    copy = cache / digest.hexdigest()[:32]
    with _locked(copy.with_suffix(".lock")):
        if not _is_whole(copy, files):
            partial = copy.with_suffix(".partial")
            for left_over in (partial, copy):
                shutil.rmtree(left_over, ignore_errors=True)
            partial.mkdir()
            for file in files:
                _copy(file, partial / basename(file.path))
            sync(partial)
            partial.rename(copy)
            sync(cache)
    return copy


def _is_whole(copy: Path, files: Sequence[_StoredFile]) -> bool:
    paths = [(copy / basename(file.path), file.size) for file in files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _copy(file: _StoredFile, target: Path) -> None:
    """Copy a file as it is.

    Raises:
        OSError: if it cannot be read or written, or is not the file that was listed any more.
    """
    with open_file(file.path, CompressionTypes.UNCOMPRESSED) as source, target.open("wb") as written:
        shutil.copyfileobj(source, written, 1 << 24)
    if target.stat().st_size != file.size or version(file.path) != file.version:
        raise OSError(f"{file.path} changed while it was copied; run the same command again")
    sync(target)


def cache_directory() -> Path:
    """Return where copies are kept, and what is to be uploaded grows; it need not be there."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "fastbert-jobs"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time in; the lock is the system's, and ends with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
