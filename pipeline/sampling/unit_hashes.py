"""The hash of the unit that a row belongs to: its text, itself, or its group."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa

from model.guarantee.unit import Unit
from pipeline.contract import schema


def unit_hashes(rows: pa.Table, text_hashes: Sequence[bytes], source: str, unit: Unit) -> list[bytes]:
    """Return a 16-byte hash for each row, equal for rows of one unit.

    A group's is of its value as text, so that 7 is the same group in every format. A row whose group is null,
    empty or NaN belongs to none: its text stands for it.

    Args:
        rows: accepted rows of one file, with a column `schema.GROUP` where units are groups.
        text_hashes: (rows,) of their texts.
        source: the file.
        unit: of what.
    """
    if unit is Unit.TEXTS:
        return list(text_hashes)
    if unit is Unit.ROWS:
        return place_hashes([source] * len(rows), rows[schema.ROW].to_pylist())
    groups = rows[schema.GROUP].to_pylist()
    return [
        text_hash if group is None or group == "" or group != group else _hash(str(group), "group")
        for group, text_hash in zip(groups, text_hashes, strict=True)
    ]


def place_hashes(sources: Sequence[str], rows: Sequence[int]) -> list[bytes]:
    """Return a 16-byte hash of where each row stands: its file, and its number there."""
    return [_hash(f"{row} {source}", "row") for source, row in zip(sources, rows, strict=True)]


def _hash(content: str, kind: str) -> bytes:
    """Return a hash that is no text's, nor one of another kind."""
    return hashlib.blake2b(
        content.encode(), digest_size=schema.TEXT_HASH_BYTES, person=kind.encode()
    ).digest()
