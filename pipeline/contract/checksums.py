"""What tells whether a file that was written is still what was written."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipeline.contract.storage import open_file

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """Of the beginning of a file, or of all of it.

    Attributes:
        num_bytes: that were hashed.
        sha256: of them, 64 hexadecimal digits.
    """

    num_bytes: int
    sha256: str


class HashingFile:
    """A file that hashes what is written to it, for Arrow to write to."""

    closed = False  # read by Arrow

    def __init__(self, file: BinaryIO) -> None:
        """Write to `file`, which stays open."""
        self._file, self._digest, self._num_bytes = file, hashlib.sha256(), 0

    @property
    def checksum(self) -> Checksum:
        """Of all that was written so far."""
        return Checksum(num_bytes=self._num_bytes, sha256=self._digest.hexdigest())

    def write(self, data: Any) -> int:
        """Write bytes, and return how many."""
        self._digest.update(data)
        self._num_bytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._num_bytes

    def flush(self) -> None:
        """Hand on what is waiting."""
        self._file.flush()


def file_checksum(path: str, num_bytes: int | None = None) -> Checksum:
    """Return the checksum of a file, or of its first bytes.

    Raises:
        OSError: if it cannot be read.
    """
    digest, total = hashlib.sha256(), 0
    for block in _blocks(path, num_bytes):
        digest.update(block)
        total += len(block)
    return Checksum(num_bytes=total, sha256=digest.hexdigest())


def _blocks(path: str, num_bytes: int | None) -> Iterator[bytes]:
    with open_file(path) as file:
        while num_bytes is None or num_bytes > 0:
            block = file.read(_BLOCK_BYTES if num_bytes is None else min(_BLOCK_BYTES, num_bytes))
            if not block:
                return
            yield block
            num_bytes = None if num_bytes is None else num_bytes - len(block)
