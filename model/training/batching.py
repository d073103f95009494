"""Batches of texts of like length, in a seeded order."""

from collections.abc import Iterator

from torch import Generator, Tensor, randperm


def step_seed(seed: int, n: int) -> int:
    """Return the seed of the step, or the epoch, `n` of a run seeded with `seed`."""
    return seed * 1_000_003 + n


def bucketed_batches(
    lengths: Tensor, batch_size: int, *, generator: Generator, buckets: int = 50
) -> Iterator[list[int]]:
    """Yield the rows of each batch: random rows, but of like length.

    Rows are shuffled, cut into runs of `buckets` batches, each run sorted by length (longest first) and cut
    into batches, and the batches shuffled: the idea of `get_length_grouped_indices` in transformers'
    trainer_pt_utils, which leaves the batches of a run in the order of their lengths.

    Args:
        lengths: (rows,) of each text, in any unit.
        batch_size: rows per batch; the last may be smaller.
        generator: decides the order.
        buckets: batches per run.
    """
    order = randperm(len(lengths), generator=generator)
    batches: list[list[int]] = []
    for run in order.split(batch_size * buckets):
        by_length = run[lengths[run].argsort(descending=True, stable=True)]
        batches += [batch.tolist() for batch in by_length.split(batch_size)]
    for index in randperm(len(batches), generator=generator).tolist():
        yield batches[index]
