"""The hash of a text, and the shares of a corpus that are drawn by it.

Drawing by hash keeps equal texts together, needs no random state, and does not depend on where a row
stands: the same text falls into the same part of every corpus.
"""

import hashlib
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pipeline.contract.schema import TEXT_HASH_BYTES


class HashStream(IntEnum):
    """Which 4 bytes of the hash a fraction is drawn by; different draws are independent."""

    CALIBRATION = 0
    HELD_OUT = 1
    SHADOW = 2


def text_hashes(texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> list[bytes]:
    """Return a 16-byte BLAKE2b hash of each text, or of each pair.

    The first text's length is hashed with it, so that ("ab", "c") and ("a", "bc") differ.
    """
    if text_pairs is None:
        return [_hash(text.encode()) for text in texts]
    return [
        _hash(b"%d\0%b%b" % (len(text), text.encode(), pair.encode()))
        for text, pair in zip(texts, text_pairs, strict=True)
    ]


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=TEXT_HASH_BYTES).digest()


def in_hash_sample(hashes: Sequence[bytes], fraction: float, stream: HashStream) -> npt.NDArray[np.bool_]:
    """Return which texts belong to a fraction of the corpus, (rows,) bool.

    Args:
        hashes: of `text_hashes`.
        fraction: in [0, 1]; 0 draws none, 1 all.
        stream: which of the independent draws.
    """
    words = np.frombuffer(b"".join(hashes), dtype=">u4").reshape(-1, TEXT_HASH_BYTES // 4)
    return words[:, stream] < fraction * 2.0**32
