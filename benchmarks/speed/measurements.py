"""What `run.py` measures and `report.py` shows: one row per system and round, in one Parquet file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa

from benchmarks.results import write_table

# Names that the report looks up.
SCORE, ENGINE, STUDENT, BASELINE = "score", "engine", "student", "baseline"
HF_PIPELINE = "HF pipeline"
OPENVINO_DEFAULT, OPENVINO_BEST = "OpenVINO", "OpenVINO, own best"
ONNX_RUNTIME, ONNX_RUNTIME_INT8 = "ONNX Runtime", "ONNX Runtime, int8"
CROSS_ENCODER = "CrossEncoder"
GEMM = "GEMM peak"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One system in one round.

    Attributes:
        dataset: which texts.
        precision: `fp32` or `bf16`.
        series: `score`, `engine`, `student`, `baseline` or `GEMM peak`.
        system: its name, the same in all rounds.
        note: what a reader must know to judge it.
        round: from 0.
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

    dataset: str
    precision: str
    series: str
    system: str
    note: str
    round: int
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
    path: Path, measurements: Sequence[Measurement], environment: Mapping[str, object]
) -> None:
    """Write all measurements; the environment goes into the file's metadata."""
    columns = {field.name: [getattr(m, field.name) for m in measurements] for field in fields(Measurement)}
    types = {float | None: pa.float64(), float: pa.float64(), int: pa.int64(), str: pa.string()}
    schema = pa.schema([(field.name, types[field.type]) for field in fields(Measurement)])
    write_table(path, pa.table(columns, schema=schema), environment)


def medians(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return one row per dataset, precision and system, in the order of the runs, with `rows_per_second`."""
    keys = ["dataset", "precision", "series", "system", "note", "target"]
    medians = measurements.groupby(keys, sort=False, dropna=False).median(numeric_only=True).reset_index()
    medians["rows_per_second"] = medians["rows"] / medians["seconds"]
    return medians


def only(group: pd.DataFrame, **wanted: object) -> pd.Series:
    """Return the one row that has these values."""
    matching = group
    for name, value in wanted.items():
        matching = matching[matching[name] == value]
    (_, row), *others = matching.iterrows()
    assert not others, wanted
    return row
