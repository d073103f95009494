"""What `speed.py` measures and `speed_report.py` shows: a row a contestant and round, in one Parquet file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

# Names that the report looks up.
SCORE, ENGINE = "score", "engine"
HF_PIPELINE = "HF pipeline"
OPENVINO_DEFAULT, OPENVINO_BEST = "OpenVINO", "OpenVINO, own best"
GEMM = "GEMM peak"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One contestant in one round.

    Attributes:
        case: which texts.
        precision: `fp32` or `bf16`.
        series: `score`, `engine`, `student`, `peer` or `GEMM peak`.
        contestant: its name, the same in all rounds.
        note: what a reader must know to judge it.
        repeat: the round, from 0.
        rows: how many texts.
        tokens: of these texts.
        seconds: wall clock.
        agreement: share of rows with the answer of the float32 teacher at full depth.
        speed: of early exit.
        target: the saved compute that `speed` was chosen for, 1 for full depth.
        mean_exit_layer: from 1.
        saved_compute: FLOPs at full depth over FLOPs run, branches included.
        padding: token-layers run over those that texts need, less 1.
        gflops: useful GFLOP/s (of `GEMM peak`: measured).
    """

    case: str
    precision: str
    series: str
    contestant: str
    note: str
    repeat: int
    rows: int
    tokens: int
    seconds: float
    agreement: float | None = None
    speed: float | None = None
    target: float | None = None
    mean_exit_layer: float | None = None
    saved_compute: float | None = None
    padding: float | None = None
    gflops: float | None = None


def write_measurements(
    path: Path, measurements: Sequence[Measurement], environment: dict[str, object]
) -> None:
    """Write all measurements; the environment goes into the file's metadata."""
    columns = {field.name: [getattr(m, field.name) for m in measurements] for field in fields(Measurement)}
    types = {float | None: pa.float64(), float: pa.float64(), int: pa.int64(), str: pa.string()}
    schema = pa.schema([(field.name, types[field.type]) for field in fields(Measurement)])
    table = pa.table(columns, schema=schema.with_metadata({"environment": json.dumps(environment)}))
    pq.write_table(table, path)


def read_measurements(path: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    """Return the measurements and the environment."""
    table = pq.read_table(path)
    return table.to_pandas(), json.loads(table.schema.metadata[b"environment"])


def medians(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return one row a case, precision and contestant, in the order of the runs, with `rows_per_second`."""
    keys = ["case", "precision", "series", "contestant", "note", "target"]
    medians = measurements.groupby(keys, sort=False, dropna=False).median(numeric_only=True).reset_index()
    medians["rows_per_second"] = medians["rows"] / medians["seconds"]
    return medians
