"""Finished outputs of score, of given rows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.contract import schema
from pipeline.contract.answer_fields import answer_fields, teacher_fields
from pipeline.contract.arrays import fixed_size_list, nullable_list, source_column
from pipeline.contract.certificate import Certificate
from pipeline.contract.checksums import Checksum
from pipeline.contract.columns import Columns
from pipeline.contract.job import JobDescription
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest
from pipeline.contract.output import claim_output, commit
from pipeline.contract.plan import RowRange, WorkItem, make_plan
from pipeline.contract.shards import ParquetFileWriter, ShardWriter, with_metadata
from tests.pipeline.contract.score_jobs import SCORE
from tests.pipeline.results.score_rows import FLOPS, LABELS, NUMBERS, POLICY, RULE

# What stood in the rejected row.
REJECTED_VALUE = b"<b>\xff\x1b[31m"


def write_rejected(layout: OutputLayout, item: WorkItem, row: int) -> Checksum:
    """Write one rejected row of an item's input."""
    rejected = schema.rejected_schema()
    table = pa.table(
        {
            "source": source_column("a.csv", 1), "row": pa.array([row]), "reason": ["undecodable"],
            "raw_value": pa.array([REJECTED_VALUE]),
        },
        schema=rejected,
    )  # fmt: skip
    with ParquetFileWriter(layout, layout.rejected(item.shard_name), rejected) as writer:
        writer.write(table)
    return writer.checksum


def write_scores(
    directory: Path,
    rows: pd.DataFrame,
    *,
    rows_per_shard: int,
    certificate: Certificate | None = None,
    kept: Sequence[str] = (),
) -> ScoreManifest:
    """Write a finished output of score: `rows` with `kept` columns of text, the last row rejected."""
    layout = OutputLayout(str(directory))
    settings = replace(
        SCORE,
        thresholds=POLICY.thresholds,
        policy=POLICY.name,
        columns=Columns(text="t", id="key", keep=tuple(kept)),
        shadow_unit=certificate.unit if certificate else SCORE.shadow_unit,
    )
    job = JobDescription(settings=settings, inputs=())
    firsts = range(0, len(rows) + 1, rows_per_shard)
    ranges = [
        RowRange(first_row=first, num_rows=min(rows_per_shard, len(rows) + 1 - first)) for first in firsts
    ]
    plan = make_plan([("a.csv", "csv", ranges)])
    claim_output(layout, job, overwrite=False)
    score_schema = schema.score_schema(
        answer=answer_fields(RULE, 3),
        teacher=teacher_fields(RULE),
        id_type=pa.string(),
        kept=[pa.field(name, pa.string()) for name in kept],
    )
    metadata = with_metadata(score_schema, {"fingerprint": job.fingerprint})
    for item in plan.items:
        some = rows.iloc[item.rows.first_row : item.rows.first_row + item.rows.num_rows]
        nothing = np.zeros((len(some), 3), dtype=np.float32)
        values = {
            **{name: pa.array(some[name]) for name in NUMBERS},
            **{
                name: pa.array(some[name], pa.string())
                for name in ("prediction", "teacher_prediction", *kept)
            },
            "source": source_column("a.csv", len(some)),
            "row": pa.array(some.index),
            "id": pa.array([str(row) for row in some.index], pa.string()),
            "probabilities": fixed_size_list(nothing),
            "truncated": pa.array([False] * len(some)),
            "unit_hash": pa.array(some["unit_hash"].tolist(), pa.binary(16)),
            "teacher_probabilities": nullable_list(nothing, some["teacher_prediction"].isna().to_numpy()),
        }
        with ShardWriter(layout, item.shard_name, metadata) as shard:
            shard.write(pa.table([values[name] for name in score_schema.names], schema=metadata))
            is_last = item.index == len(plan.items) - 1
            shard.finish(
                {"rejected": int(is_last)}, write_rejected(layout, item, len(rows)) if is_last else None
            )

    def manifest(**fields: Any) -> ScoreManifest:
        return ScoreManifest(**fields, model="m", flops=FLOPS, certificate=certificate)

    return commit(layout, job, plan, labels=LABELS, versions={}, build=manifest)
