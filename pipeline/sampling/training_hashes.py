"""What a model was trained on, to tell a calibration split that is none."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from model.checkpoints.hub import BRANCH_TEXTS_FILE, TEACHER_TEXTS_FILE
from model.errors import ArtifactError
from model.messages import one_line
from pipeline.contract import schema
from pipeline.contract.shards import COMPRESSION

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


def write_branch_texts(directory: Path, hashes: Iterable[bytes]) -> None:
    """Write the hashes of texts that branches were trained on beside their model; of very many a share."""
    _write(directory / BRANCH_TEXTS_FILE, bottom_k_sample(hashes))


def write_teacher_texts(directory: Path, hashes: Iterable[bytes]) -> None:
    """Write the hashes of all texts that a classifier was fine-tuned on beside it."""
    _write(directory / TEACHER_TEXTS_FILE, sorted(set(hashes)))


def _write(path: Path, hashes: Sequence[bytes]) -> None:
    column = pa.array(hashes, pa.binary(schema.TEXT_HASH_BYTES))
    pq.write_table(pa.table({schema.TEXT_HASH: column}), path, compression=COMPRESSION)


def read_branch_texts(directory: Path) -> frozenset[bytes] | None:
    """Return the hashes of texts that a model's branches are known to be trained on; None for not known.

    Raises:
        ArtifactError: if what the model says is damaged.
    """
    return _read(directory / BRANCH_TEXTS_FILE, command="distill")


def read_teacher_texts(directory: Path) -> frozenset[bytes] | None:
    """Return the hashes of the texts that a model was fine-tuned on; None where it does not say.

    Raises:
        ArtifactError: if what the model says is damaged.
    """
    return _read(directory / TEACHER_TEXTS_FILE, command="finetune")


def _read(path: Path, *, command: str) -> frozenset[bytes] | None:
    if not path.is_file():
        return None
    try:
        return frozenset(pq.read_table(path)[schema.TEXT_HASH].to_pylist())
    # Arrow raises the first three, and the last where there is no such column.
    except (OSError, ValueError, pa.ArrowNotImplementedError, KeyError) as error:
        raise ArtifactError(
            f"{str(path)!r} is damaged: {one_line(error)}; "
            f"make the model again with `fastbert-jobs {command}`"
        ) from error
