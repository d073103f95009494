"""Which rows of which file become which shard.

A plan is made once, by the driver, from the input alone: it depends neither on the runner nor on the
number of workers. Each work item becomes exactly one shard.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RowRange:
    """A run of rows of one file.

    Attributes:
        first_row: number of the first row in its file, from 0, a header not counted.
        num_rows: how many rows; -1 where that is known only after reading (compressed text).
        first_byte: where the first row starts (text formats; 0 for Parquet).
        num_bytes: how many bytes the rows take (text formats; -1 to the end of the file).
    """

    first_row: int
    num_rows: int
    first_byte: int = 0
    num_bytes: int = -1


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """One file's run of rows, and the number of the shard that it becomes.

    Attributes:
        index: number of the shard, from 0.
        num_items: how many shards the job has.
        path: the input file, as Beam's FileSystems spell it.
        format: one of `input_files.FORMATS`.
        rows: which of its rows.
        version: what the driver saw of the file, so that a worker knows whether it changed; None where nobody
            asked.
    """

    index: int
    num_items: int
    path: str
    format: str
    rows: RowRange
    version: str | None = None

    @property
    def shard_name(self) -> str:
        """Return the shard's file name.

        >>> rows = RowRange(first_row=0, num_rows=3)
        >>> WorkItem(index=7, num_items=42, path="a.tsv", format="tsv", rows=rows).shard_name
        'part-00007-of-00042.parquet'
        """
        # As wide as the last number, so that names sort in the order of the rows.
        width = max(5, len(str(self.num_items)))
        return f"part-{self.index:0{width}d}-of-{self.num_items:0{width}d}.parquet"

    @property
    def description(self) -> str:
        """Return which rows of which file it is, numbered from 0 as in the shards.

        >>> rows = RowRange(first_row=20, num_rows=10)
        >>> WorkItem(index=2, num_items=3, path="a.tsv", format="tsv", rows=rows).description
        'a.tsv, rows 20 to 29'
        """
        first, num_rows = self.rows.first_row, self.rows.num_rows
        return self.path if num_rows < 1 else f"{self.path}, rows {first} to {first + num_rows - 1}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The work items of a job, in input order."""

    items: tuple[WorkItem, ...]

    @property
    def num_rows(self) -> int | None:
        """Return how many rows the plan holds, None where a compressed file hides it."""
        return num_rows_of(self.items)


def num_rows_of(items: Iterable[WorkItem]) -> int | None:
    """Return how many rows some work items hold, None where a compressed file hides it."""
    counts = [item.rows.num_rows for item in items]
    return None if any(count < 0 for count in counts) else sum(counts)


def even_ranges(num_rows: int, rows_per_shard: int) -> Iterator[tuple[int, int]]:
    """Cut `num_rows` rows into runs of nearly equal size, none above `rows_per_shard`.

    >>> list(even_ranges(10, 4))
    [(0, 4), (4, 3), (7, 3)]
    >>> list(even_ranges(0, 4))
    []
    """
    num_runs = math.ceil(num_rows / rows_per_shard)
    first = 0
    for run in range(num_runs):
        size = num_rows // num_runs + (run < num_rows % num_runs)
        yield first, size
        first += size


def make_plan(
    files: Sequence[tuple[str, str, Sequence[RowRange]]], *, versions: Mapping[str, str] | None = None
) -> Plan:
    """Number the row ranges of all files through.

    Args:
        files: (path, format, row ranges) per file, in the order the shards shall have.
        versions: what the driver saw of each file, by its path; None where nobody asked.
    """
    seen = versions or {}
    runs = [(path, file_format, rows) for path, file_format, ranges in files for rows in ranges]
    return Plan(
        items=tuple(
            WorkItem(
                index=index,
                num_items=len(runs),
                path=path,
                format=file_format,
                rows=rows,
                version=seen.get(path),
            )
            for index, (path, file_format, rows) in enumerate(runs)
        )
    )
