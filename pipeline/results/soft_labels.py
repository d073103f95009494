"""Finished soft-label shards as batches to train on: a seeded order, and never the calibration split."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from model.errors import InputError
from model.training.loop import bucketed_batches, step_seed
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import Manifest, read_manifest
from pipeline.contract.shards import read_shard
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample

COMMAND = "label-teacher"
# Enough rows of different shards at once that an ordered corpus is mixed.
POOL_ROWS = 1 << 16
HELD_OUT_SHARE = 0.05
MAX_HELD_OUT_ROWS = 2000


@dataclass(frozen=True)
class SoftLabelledTexts:
    """Some texts and what the teacher answers to them.

    Attributes:
        texts: the texts.
        text_pairs: the second text of each pair, None where texts are single.
        logits: (rows, num_labels) float32 of the teacher.
        num_tokens: (rows,) of the teacher's tokenizer.
    """

    texts: list[str]
    text_pairs: list[str] | None
    logits: npt.NDArray[np.float32]
    num_tokens: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> SoftLabelledTexts:
        """Return the texts that `rows` names, in that order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return SoftLabelledTexts(
            texts=[self.texts[row] for row in rows],
            text_pairs=None if self.text_pairs is None else [self.text_pairs[row] for row in rows],
            logits=self.logits[chosen],
            num_tokens=self.num_tokens[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class SoftLabels:
    """A finished output of `label-teacher`.

    Attributes:
        layout: its directory.
        manifest: its manifest.
        num_train_rows: rows to train on.
        held_out_share: share of the train split's texts, drawn by hash, that branches are judged by.
    """

    layout: OutputLayout
    manifest: Manifest
    num_train_rows: int
    held_out_share: float

    @classmethod
    def open(cls, directory: str) -> SoftLabels:
        """Open a directory, counting its rows.

        Raises:
            ArtifactError: if it is no finished output of `label-teacher`.
        """
        layout = OutputLayout(directory)
        manifest = read_manifest(layout, command=COMMAND)
        num_rows = manifest.counts.get(schema.TRAIN_SPLIT, 0)
        share = min(HELD_OUT_SHARE, MAX_HELD_OUT_ROWS / num_rows) if num_rows else 0.0
        num_held_out = sum(
            int(held_out.sum())
            for name in manifest.shard_names
            for batch in read_shard(layout, name, columns=[schema.SPLIT, schema.TEXT_HASH])
            for _, held_out in [_split_masks(batch, share)]
        )
        return cls(
            layout=layout,
            manifest=manifest,
            num_train_rows=num_rows - num_held_out,
            held_out_share=share,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return tuple(self.manifest.labels)

    @property
    def num_calibration_rows(self) -> int:
        """Rows of the calibration split, equal texts counted each time."""
        return self.manifest.counts.get(schema.CALIBRATION_SPLIT, 0)

    @property
    def max_length(self) -> int:
        """Tokens that the teacher's texts were cut to."""
        return int(self.manifest.description["max_length"])

    @property
    def has_pairs(self) -> bool:
        """Whether the texts are pairs."""
        return self.manifest.description["columns"]["text_pair"] is not None

    def check_trainable(self) -> None:
        """Refuse to train on nothing.

        Raises:
            InputError: if there is no row to train on.
        """
        if not self.num_train_rows:
            raise InputError(
                f"{self.layout.directory!r} has no rows to train on: all of its train split are held out; "
                "label more rows, or with a smaller `calibration_fraction`"
            )

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.num_train_rows // batch_size)

    def batches(self, epoch: int, *, batch_size: int, seed: int) -> Iterator[SoftLabelledTexts]:
        """Yield the training batches of an epoch: every train row once, in an order that seed and epoch set.

        Shards come in a shuffled order and are pooled, so that a batch mixes rows of several; rows of a batch
        are of like length, longest first.
        """
        generator = torch.Generator().manual_seed(step_seed(seed, epoch))
        rest: SoftLabelledTexts | None = None
        for pool, is_last in _mark_last(self._shuffle_buffers(generator)):
            rows = pool if rest is None else concatenate([rest, pool])
            order = torch.randperm(len(rows), generator=generator).tolist()
            num_rest = 0 if is_last else len(rows) % batch_size
            rest = rows.take(order[len(order) - num_rest :])
            if num_rest == len(rows):
                continue
            now = rows.take(order[: len(order) - num_rest])
            lengths = torch.from_numpy(now.num_tokens)
            for batch in bucketed_batches(lengths, batch_size, generator=generator):
                yield now.take(batch)

    def held_out(self) -> SoftLabelledTexts | None:
        """Return the rows that branches are judged by, None where the corpus is too small to have any."""
        parts = [part for name in self.manifest.shard_names for part in self._read(name, held_out=True)]
        return concatenate(parts) if parts else None

    def train_hashes(self) -> Iterator[bytes]:
        """Yield the hash of every text to train on."""
        for name in self.manifest.shard_names:
            for batch in read_shard(self.layout, name, columns=[schema.SPLIT, schema.TEXT_HASH]):
                train_rows, _ = _split_masks(batch, self.held_out_share)
                yield from batch[schema.TEXT_HASH].filter(pa.array(train_rows)).to_pylist()

    def calibration(self, max_rows: int) -> tuple[pa.Table, int]:
        """Return the calibration split's distinct texts in the order of their hashes, and how many there are.

        Args:
            max_rows: most texts to return; those with the smallest hashes.

        Returns:
            A table with the columns of a soft-label shard; of equal texts the first row of the first shard.
        """
        is_ours = pc.field(schema.SPLIT) == schema.CALIBRATION_SPLIT
        hashes: set[bytes] = set()
        for name in self.manifest.shard_names:
            for batch in read_shard(self.layout, name, columns=[schema.SPLIT, schema.TEXT_HASH]):
                hashes.update(batch.filter(is_ours)[schema.TEXT_HASH].to_pylist())
        wanted = heapq.nsmallest(max_rows, hashes)
        parts, missing = [], set(wanted)
        for name in self.manifest.shard_names:
            for batch in read_shard(self.layout, name):
                rows = []
                for row, text_hash in enumerate(batch[schema.TEXT_HASH].to_pylist()):
                    if text_hash in missing:
                        missing.remove(text_hash)
                        rows.append(row)
                parts.append(batch.take(pa.array(rows, pa.int64())))
        table = pa.Table.from_batches(parts)
        order = np.argsort(np.array(table[schema.TEXT_HASH].to_pylist(), dtype=object), kind="stable")
        return table.take(pa.array(order)), len(hashes)

    def _shuffle_buffers(self, generator: torch.Generator) -> Iterator[SoftLabelledTexts]:
        names = self.manifest.shard_names
        waiting: list[SoftLabelledTexts] = []
        for index in torch.randperm(len(names), generator=generator).tolist():
            for part in self._read(names[index], held_out=False):
                waiting.append(part)
                if sum(map(len, waiting)) >= POOL_ROWS:
                    yield concatenate(waiting)
                    waiting = []
        if waiting:
            yield concatenate(waiting)

    def _read(self, name: str, *, held_out: bool) -> Iterator[SoftLabelledTexts]:
        columns = [
            schema.TEXT,
            *([schema.TEXT_PAIR] if self.has_pairs else []),
            schema.TEXT_HASH,
            schema.SPLIT,
            schema.TEACHER_LOGITS,
            schema.NUM_TOKENS,
        ]
        for batch in read_shard(self.layout, name, columns=columns):
            train_rows, held_out_rows = _split_masks(batch, self.held_out_share)
            wanted = batch.filter(pa.array(held_out_rows if held_out else train_rows))
            if len(wanted):
                yield SoftLabelledTexts(
                    texts=wanted[schema.TEXT].to_pylist(),
                    text_pairs=wanted[schema.TEXT_PAIR].to_pylist() if self.has_pairs else None,
                    logits=wanted[schema.TEACHER_LOGITS].flatten().to_numpy().reshape(len(wanted), -1),
                    num_tokens=wanted[schema.NUM_TOKENS].to_numpy().astype(np.int64),
                )


def _split_masks(
    batch: pa.RecordBatch, held_out_share: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which rows are to train on and which are held out; the calibration split is neither."""
    is_train = np.asarray(batch[schema.SPLIT].to_pylist(), dtype=object) == schema.TRAIN_SPLIT
    is_held_out = in_hash_sample(batch[schema.TEXT_HASH].to_pylist(), held_out_share, HashStream.HELD_OUT)
    return is_train & ~is_held_out, is_train & is_held_out


def token_windows(batches: Iterable[SoftLabelledTexts], max_tokens: int) -> Iterator[list[SoftLabelledTexts]]:
    """Yield runs of batches that hold at most `max_tokens` tokens together, or are one batch."""
    window: list[SoftLabelledTexts] = []
    num_tokens = 0
    for batch in batches:
        num_tokens += int(batch.num_tokens.sum())
        if window and num_tokens > max_tokens:
            yield window
            window, num_tokens = [], int(batch.num_tokens.sum())
        window.append(batch)
    if window:
        yield window


def concatenate(parts: Sequence[SoftLabelledTexts]) -> SoftLabelledTexts:
    """Return all texts of the parts."""
    pairs = [part.text_pairs for part in parts if part.text_pairs is not None]
    return SoftLabelledTexts(
        texts=[text for part in parts for text in part.texts],
        text_pairs=[pair for part in pairs for pair in part] if pairs else None,
        logits=np.concatenate([part.logits for part in parts]),
        num_tokens=np.concatenate([part.num_tokens for part in parts]),
    )


def _mark_last(pools: Iterator[SoftLabelledTexts]) -> Iterator[tuple[SoftLabelledTexts, bool]]:
    """Yield each pool and whether it is the last."""
    before = next(pools, None)
    for pool in pools:
        assert before is not None
        yield before, False
        before = pool
    if before is not None:
        yield before, True
