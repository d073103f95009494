"""What 1e9 and 1e11 rows take: the tables of docs/scale.md, a model fed by measured figures.

A worker is a process with two cores, as the machine that was measured on; a job's work is parted evenly.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks.markdown import rate, table
from benchmarks.results import read_results

ROWS = (10**9, 10**11)
WORKERS = (10, 100, 1_000)
ITEMS = (10_000, 100_000, 1_000_000)
# Of more the driver, the listings and the manifest are felt; see docs/scale.md.
MOST_ITEMS = 100_000
# So many for each worker leave a twentieth of the time in which some have ended and others have not.
ITEMS_OF_A_WORKER = 20
SECONDS_OF_AN_ITEM = 300
_SHOWN = "AG News"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of equal rows on equal workers.

    Attributes:
        num_rows: of its input.
        num_workers: at work at the same time.
        rows_per_second: of one worker.
        start_seconds: of a worker before its first row.
    """

    num_rows: int
    num_workers: int
    rows_per_second: float
    start_seconds: float

    @property
    def rows_per_shard(self) -> int:
        """What to give as `--rows-per-shard`, two digits of it.

        Five minutes of work, but twenty items for each worker, and never more items than are well.
        """
        wished = min(
            SECONDS_OF_AN_ITEM * self.rows_per_second,
            self.num_rows / (ITEMS_OF_A_WORKER * self.num_workers),
        )
        rows = max(wished, self.num_rows / MOST_ITEMS)
        unit = 10 ** max(0, math.floor(math.log10(rows)) - 1)
        return math.ceil(round(rows / unit, 6)) * unit

    @property
    def num_items(self) -> int:
        """How many shards there will be."""
        return math.ceil(self.num_rows / self.rows_per_shard)

    @property
    def item_seconds(self) -> float:
        """What an item takes."""
        return self.rows_per_shard / self.rows_per_second

    @property
    def seconds(self) -> float:
        """What the job takes, the driver left out: the worker with the most items ends last."""
        return self.start_seconds + math.ceil(self.num_items / self.num_workers) * self.item_seconds


def duration(seconds: float) -> str:
    """Return a duration in the unit that people would use.

    >>> duration(12), duration(300), duration(7200), duration(864_000)
    ('12 s', '5.0 min', '2.0 h', '10 days')
    """
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= (2 if unit == "days" else 1) * length:
            number = seconds / length
            return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.2g} s"


def size(num_bytes: float) -> str:
    """Return a number of bytes, in the largest unit of which there is one.

    >>> size(790), size(7.9e10), size(2.2e12)
    ('790 B', '79 GB', '2.2 TB')
    """
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= length:
            number = num_bytes / length
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{num_bytes:.0f} B"


def work() -> str:
    """Return the table of worker-hours by data set, at full depth and under a promise."""
    hours_of = (f"{_power(rows)} rows, worker-hours" for rows in ROWS)
    header = ("texts", "asked for", "rows/s a worker", *hours_of)
    cells = []
    for row in _rates().itertuples():
        for asked, per_second in _asked(row):
            hours = (f"{rows / per_second / 3600:,.0f}" for rows in ROWS)
            cells.append((row.dataset, asked, rate(per_second), *hours))
    return table(header, cells)


def jobs() -> str:
    """Return the table of what a job takes on ever more workers."""
    (row,) = _rates().query("dataset == @_SHOWN").itertuples()
    start = _measured()["start-up, s"]
    header = ("rows", "workers", "asked for", "`--rows-per-shard`", "items", "an item", "the job")
    cells = []
    for num_rows in ROWS:
        for num_workers in WORKERS:
            for asked, per_second in (
                ("full depth", row.full_depth_rows_per_second),
                ("at most 1 %", row.rows_per_second),
            ):
                job = Job(
                    num_rows=num_rows,
                    num_workers=num_workers,
                    rows_per_second=per_second,
                    start_seconds=start,
                )
                cells.append(
                    (
                        _power(num_rows), f"{num_workers:,}", asked, f"{job.rows_per_shard:,}",
                        f"{job.num_items:,}", duration(job.item_seconds), duration(job.seconds),
                    )
                )  # fmt: skip
    return table(header, cells)


def driver() -> str:
    """Return the table of what the driver's steps take by the number of items."""
    measured = _measured()
    steps = {
        "list and inspect the files": "list and inspect, s",
        "make the plan": "plan, s",
        "describe the job and claim the directory": "describe and claim, s",
        "write `_PLAN.parquet` and read it": "write and read the plan, s",
        "resume scan": "resume scan, s",
        "commit: every footer, and the manifest": "commit, s",
        "read the manifest": "read the manifest, s",
    }
    sizes = {
        "`_JOB.json`": "description, bytes a file",
        "`_PLAN.parquet`": "plan, bytes an item",
        "`_MANIFEST.json`, beside the input files": "manifest, bytes a shard",
    }
    header = ("", "of one", *(f"of {items:,}" for items in ITEMS))
    cells = []
    for name, key in steps.items():
        of_many = (duration(measured[key] * items) for items in ITEMS)
        cells.append((name, f"{measured[key] * 1e6:,.0f} µs", *of_many))
    for name, key in sizes.items():
        cells.append((name, size(measured[key]), *(size(measured[key] * items) for items in ITEMS)))
    return table(header, cells)


def storage() -> str:
    """Return the table of what outputs take on disk, and what a worker takes to start."""
    measured, (_, found) = _measured(), read_results("scale")
    header = ("", "a row", *(f"{_power(rows)} rows" for rows in ROWS))
    cells = [
        (name, f"{measured[key]:.0f} B", *(size(measured[key] * rows) for rows in ROWS))
        for name, key in (("scores", "scores, bytes a row"), ("soft labels", "labels, bytes a row"))
    ]
    return (
        table(header, cells)
        + f"\n\n{found['rows']:,} random texts of 1 to 12 words, 3 labels. A worker takes "
        f"{measured['start-up, s']:.0f} s of the processor until it has done its first row, with a model of "
        f"{found['model']} on a local disk."
    )


def _measured() -> dict[str, float]:
    rows, _ = read_results("scale")
    return dict(zip(rows["what"], rows["value"], strict=True))


def _rates() -> pd.DataFrame:
    rows, _ = read_results("wall_clock")
    return rows.query("precision == 'fp32' and max_disagreement == 0.01")


def _asked(row: Any) -> tuple[tuple[str, float], ...]:
    return ("full depth", row.full_depth_rows_per_second), ("at most 1 %", row.rows_per_second)


def _power(number: int) -> str:
    return f"1e{round(math.log10(number))}"
