"""A model's memory of what it was trained on, to tell a calibration split that is none."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import ArtifactError
from model.messages import one_line
from pipeline.contract import schema
from pipeline.contract.shards import COMPRESSION

TRAINING_HASHES_FILE = "seen_texts.parquet"
# All texts of a small corpus; of a large one a share, drawn by hash, in which any overlap shows.
_KEPT = 1 << 16


def bottom_k_sample(hashes: Iterable[bytes]) -> list[bytes]:
    """Return the distinct hashes that come first by their ends, which no split is drawn by.

    Twice as many as are returned are held at once, however many there are.
    """
    kept: set[bytes] = set()
    for text_hash in hashes:
        kept.add(text_hash)
        if len(kept) >= 2 * _KEPT:
            kept = set(_smallest(kept))
    return _smallest(kept)


def _smallest(hashes: Iterable[bytes]) -> list[bytes]:
    return heapq.nsmallest(_KEPT, hashes, key=_reversed)


def _reversed(text_hash: bytes) -> bytes:
    return text_hash[::-1]


def write_training_hashes(directory: Path, hashes: Iterable[bytes]) -> None:
    """Write the hashes of texts that a model was trained on beside it."""
    kept = pa.array(bottom_k_sample(hashes), pa.binary(schema.TEXT_HASH_BYTES))
    pq.write_table(
        pa.table({schema.TEXT_HASH: kept}), directory / TRAINING_HASHES_FILE, compression=COMPRESSION
    )


def overlapping_rows(directory: Path, hashes: Sequence[bytes]) -> list[int] | None:
    """Return which texts a model is known to have been trained on; None where it does not say.

    Args:
        directory: of the model.
        hashes: of the texts.

    Raises:
        ArtifactError: if what it says is damaged.
    """
    path = directory / TRAINING_HASHES_FILE
    if not path.is_file():
        return None
    try:
        seen = set(pq.read_table(path)[schema.TEXT_HASH].to_pylist())
    # Arrow raises the first three, and the last where there is no such column.
    except (OSError, ValueError, pa.ArrowNotImplementedError, KeyError) as error:
        raise ArtifactError(
            f"{str(path)!r} is damaged: {one_line(error)}; make the model again with `fastbert-jobs distill`"
        ) from error
    return [row for row, text_hash in enumerate(hashes) if text_hash in seen]
