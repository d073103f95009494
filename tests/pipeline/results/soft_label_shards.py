"""Rows as a finished output of `label-teacher`, in one shard."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from model.answers.task import Task
from pipeline.contract import schema
from pipeline.contract.answer_fields import soft_label_field
from pipeline.contract.arrays import fixed_size_list, source_column
from pipeline.contract.columns import Columns
from pipeline.contract.job import JobDescription
from pipeline.contract.layout import OutputLayout
from pipeline.contract.output import claim_output, commit
from pipeline.contract.plan import RowRange, make_plan
from pipeline.contract.shards import ShardWriter, with_metadata
from pipeline.sampling.hash_sampling import text_hashes
from tests.pipeline.contract.score_jobs import LABEL, label_manifest


def write_rows(directory: str, rows: pa.Table, **settings: Any) -> None:
    """Write rows of a file a.csv: their texts, the hashes of their units and their splits."""
    layout = OutputLayout(directory)
    pairs = [rows["text_pair"].to_pylist()] if "text_pair" in rows.column_names else []
    options = {"columns": Columns(text="t", text_pair="p" if pairs else None), **settings}
    job = JobDescription(settings=replace(LABEL, **options), inputs=())
    plan = make_plan([("a.csv", "csv", [RowRange(first_row=0, num_rows=len(rows))])])
    claim_output(layout, job, overwrite=False)
    values = {
        "source": source_column("a.csv", len(rows)),
        "row": pa.array(range(len(rows)), pa.int64()),
        "text_hash": pa.array(text_hashes(rows["text"].to_pylist(), *pairs), pa.binary(16)),
        "teacher_logits": fixed_size_list(np.zeros((len(rows), 2), dtype=np.float32)),
        "teacher_prediction": pa.array(["a"] * len(rows), pa.string()),
        "num_tokens": pa.array([5] * len(rows), pa.int32()),
        "truncated": pa.array([False] * len(rows)),
        **{name: rows[name] for name in rows.column_names},
    }
    label_schema = schema.label_schema(
        num_labels=2, answer=[soft_label_field(Task.ONE_LABEL)], with_pair=bool(pairs)
    )
    metadata = with_metadata(label_schema, {"fingerprint": job.fingerprint})
    splits = rows["split"].to_pylist()
    for item in plan.items:
        with ShardWriter(layout, item.shard_name, metadata) as shard:
            shard.write(pa.table([values[name] for name in label_schema.names], schema=metadata))
            counts = {split: splits.count(split) for split in (schema.TRAIN_SPLIT, schema.CALIBRATION_SPLIT)}
            shard.finish({"rejected": 0, **counts}, None)
    commit(layout, job, plan, labels=("a", "b"), versions={}, build=label_manifest)
