"""Measured numbers in Parquet files, the machine and the data that they come from in the metadata.

Every script here writes `benchmarks/NAME.parquet`; the tables of README.md and docs/ are made from these
files and nothing else (`make performance`).
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).parent
_ENVIRONMENT = "environment"

Environment = Mapping[str, object]


def write_rows(path: Path, rows: Sequence[Mapping[str, object]], environment: Environment) -> None:
    """Write rows, the environment in the file's metadata.

    Args:
        path: of the Parquet file.
        rows: equal keys in each; the keys are the columns.
        environment: machine, versions, data: plain JSON values.
    """
    write_table(path, pa.Table.from_pylist([dict(row) for row in rows]), environment)


def write_table(path: Path, table: pa.Table, environment: Environment) -> None:
    """Write a table, the environment in the file's metadata."""
    pq.write_table(table.replace_schema_metadata({_ENVIRONMENT: json.dumps(dict(environment))}), path)


def read_results(name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows and the environment of `benchmarks/NAME.parquet`."""
    return read_file(RESULTS / f"{name}.parquet")


def read_file(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows and the environment of a file."""
    table = pq.read_table(path)
    return table.to_pandas(), json.loads(table.schema.metadata[_ENVIRONMENT.encode()])


def replace_dataset(
    path: Path, dataset: str, rows: Sequence[Mapping[str, object]], environment: Environment
) -> None:
    """Write the rows of one data set in place of those that a file has of it; the others' are kept."""
    earlier = pq.read_table(path).to_pylist() if path.is_file() else []
    others = [row for row in earlier if row["dataset"] != dataset]
    write_rows(path, [*others, *rows], environment)


def machine(*, threads: int, libraries: Sequence[str]) -> dict[str, object]:
    """Return what a reader must know of this machine."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries},
    }


def cpu_model() -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
