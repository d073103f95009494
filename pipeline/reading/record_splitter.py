"""Where the records of a text file begin and end: lines, or what RFC 4180 calls records.

A file is searched block by block, in constant memory, so that the driver can tell the byte at which every
N-th row starts and a worker can begin there. Nothing but the newline byte ends a record: U+2028, form
feeds and their like are text.
"""

from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from pipeline.contract.plan import RowRange
from pipeline.reading.read_errors import read_errors_as_input_error

SCAN_BLOCK_BYTES = 8 * 1024 * 1024
READ_BLOCK_BYTES = 1024 * 1024
MAX_RECORD_BYTES = 256 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_NEWLINE, _QUOTE, _COMMA = b'\n",'
_NO_QUOTE = 0


class RecordEnds(Protocol):
    """Finds the newlines that end records in one block after the other."""

    def __call__(self, block: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the positions in `block` of the newlines that end a record."""


def line_ends(block: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the positions of all newlines."""
    return np.flatnonzero(block == _NEWLINE)


class CsvRecordEnds:
    """The newlines outside quotes, by the parity of the quotes before them.

    A quote opens a field only where the field begins; elsewhere outside quotes it is a character, as in
    ``5" pipe``, and does not turn the rest of the file inside out.
    """

    def __init__(self) -> None:
        self._inside = False
        self._last = _NEWLINE  # the byte before the block, _NO_QUOTE for a quote that is a character

    def __call__(self, block: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the positions in `block` of the newlines that end a record."""
        quotes = np.flatnonzero(block == _QUOTE)
        toggles = self._quote_toggles(block, quotes)
        newlines = line_ends(block)
        is_inside = (np.searchsorted(toggles, newlines) + self._inside) % 2 == 1
        self._inside = bool((toggles.size + self._inside) % 2)
        if block.size:
            is_character = block[-1] == _QUOTE and not (toggles.size and toggles[-1] == block.size - 1)
            self._last = _NO_QUOTE if is_character else int(block[-1])
        outside: NDArray[np.int64] = newlines[~is_inside]
        return outside

    def _quote_toggles(self, block: NDArray[np.uint8], quotes: NDArray[np.int64]) -> NDArray[np.int64]:
        if not quotes.size:
            return quotes
        before = block[quotes - 1]
        if quotes[0] == 0:
            before[0] = self._last
        # Would each that opens, if all toggled, stand where a field begins or follow its closing twin?
        opening = before[int(self._inside) :: 2]
        if bool(np.isin(opening, (_COMMA, _NEWLINE, _QUOTE)).all()):
            return quotes
        return self._toggles_one_by_one(quotes.tolist(), before.tolist())

    def _toggles_one_by_one(self, quotes: list[int], before: list[int]) -> NDArray[np.int64]:
        toggles = []
        inside = self._inside
        closed = -1 if self._last == _QUOTE and not inside else None
        for position, previous in zip(quotes, before, strict=True):
            if not inside and previous not in (_COMMA, _NEWLINE) and position - 1 != closed:
                continue
            inside = not inside
            closed = None if inside else position
            toggles.append(position)
        return np.array(toggles, dtype=np.int64)


def skip_bom(stream: BinaryIO, *, path: str) -> int:
    """Move `stream` to the start of its text, behind a byte order mark if it has one.

    Returns:
        The position reached, in bytes.

    Raises:
        InputError: the file cannot be read.
    """
    with read_errors_as_input_error(path):
        stream.seek(0)
        start = len(_BOM) if stream.read(len(_BOM)) == _BOM else 0
        stream.seek(start)
    return start


def find_ranges(
    stream: BinaryIO, ends: RecordEnds, *, path: str, has_header: bool, rows_per_shard: int
) -> tuple[RowRange, ...]:
    """Cut a text file into runs of `rows_per_shard` rows, in one pass and constant memory.

    Raises:
        InputError: a record is longer than `MAX_RECORD_BYTES`.
    """
    position = record_start = skip_bom(stream, path=path)
    num_records = 0
    starts = [] if has_header else [position]
    for block in _blocks(stream, path, SCAN_BLOCK_BYTES):
        found = ends(np.frombuffer(block, dtype=np.uint8)) + position + 1
        position += len(block)
        bounds = np.array([record_start, position]) if not found.size else np.append(record_start, found)
        if np.diff(bounds).max() > MAX_RECORD_BYTES:
            raise _too_long(path)
        record_start = int(found[-1]) if found.size else record_start
        starts.extend(found[(has_header - num_records - 1) % rows_per_shard :: rows_per_shard].tolist())
        num_records += found.size
    num_rows = num_records + (record_start < position) - has_header
    return _ranges_between([*starts, position], max(num_rows, 0), rows_per_shard)


def _ranges_between(starts: list[int], num_rows: int, rows_per_shard: int) -> tuple[RowRange, ...]:
    return tuple(
        RowRange(
            first_row=first_row,
            num_rows=min(rows_per_shard, num_rows - first_row),
            first_byte=starts[index],
            num_bytes=starts[index + 1] - starts[index],
        )
        for index, first_row in enumerate(range(0, num_rows, rows_per_shard))
    )


def read_records(stream: BinaryIO, ends: RecordEnds, *, path: str, num_bytes: int = -1) -> Iterator[bytes]:
    """Yield the records from where `stream` stands, their line ends taken off.

    Args:
        stream: an open file.
        ends: finds the ends of records.
        path: the file's name, for errors.
        num_bytes: how many bytes to read; -1 for all.

    Raises:
        InputError: a record is longer than `MAX_RECORD_BYTES`.
    """
    pieces: list[bytes] = []  # of a record that goes on from block to block
    num_waiting = 0
    for block in _blocks(stream, path, READ_BLOCK_BYTES, num_bytes):
        start = 0
        for end in ends(np.frombuffer(block, dtype=np.uint8)).tolist():
            record = b"".join([*pieces, block[start:end]]) if pieces else block[start:end]
            pieces.clear()
            if len(record) > MAX_RECORD_BYTES:
                raise _too_long(path)
            yield record.removesuffix(b"\r")
            start = end + 1
        num_waiting = len(block) - start + (num_waiting if start == 0 else 0)
        if num_waiting > MAX_RECORD_BYTES:
            raise _too_long(path)
        if start < len(block):
            pieces.append(block[start:])
    if pieces:
        yield b"".join(pieces)


def _blocks(stream: BinaryIO, path: str, block_bytes: int, num_bytes: int = -1) -> Iterator[bytes]:
    while num_bytes:
        with read_errors_as_input_error(path):
            block = stream.read(min(block_bytes, num_bytes) if num_bytes > 0 else block_bytes)
        if not block:
            return
        yield block
        num_bytes -= len(block) if num_bytes > 0 else 0


def _too_long(path: str) -> InputError:
    return InputError(
        f"{path}: a row is longer than {MAX_RECORD_BYTES >> 20} MiB: is the format right, every quote closed?"
    )
