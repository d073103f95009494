"""How long `audit` takes over a job of many rows, in how much memory: `python -m benchmarks.jobs.audit_rate`.

The rows are drawn at random, in the shape of a job of two labels and twelve layers.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.terminal import say
from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.cost.flops import FlopsModel
from model.cost.network_flops import flops_model
from model.exits.policy import ExitPolicy
from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.contract.answer_columns import answer_columns
from pipeline.contract.answer_fields import answer_fields, teacher_fields
from pipeline.contract.arrays import source_column
from pipeline.contract.columns import Columns
from pipeline.contract.job import JobDescription, ScoreSettings
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest
from pipeline.contract.output import claim_output, commit
from pipeline.contract.plan import RowRange, make_plan
from pipeline.contract.shards import ShardWriter, with_metadata

ROWS_PER_SHARD = 100_000
_NUM_LAYERS = 12
_RULE = AnswerRule(task=Task.ONE_LABEL)


def write_job(directory: Path, num_rows: int, num_labels: int) -> None:
    """Write a finished job of random rows, one in a thousand of the shadow sample."""
    from transformers import BertConfig

    labels = tuple(f"label {number}" for number in range(num_labels))
    policy = ExitPolicy.from_speed(0.5, num_layers=_NUM_LAYERS)
    settings = ScoreSettings(
        model_hash="abc", device="cpu", precision="bf16", backend="onednn", max_length=128,
        columns=Columns(text="t"), rows_per_shard=ROWS_PER_SHARD, policy=policy.name, answer=_RULE,
        thresholds=policy.thresholds, scalings=policy.scalings, lexical_threshold=0.0,
        lexical_scaling=policy.lexical_scaling, length_exponent=0.0, shadow_fraction=0.001,
        shadow_unit=Unit.TEXTS, sample_fraction=0.001,
    )  # fmt: skip
    layout, job = OutputLayout(str(directory)), JobDescription(settings=settings, inputs=())
    ranges = [
        RowRange(first_row=first, num_rows=min(ROWS_PER_SHARD, num_rows - first))
        for first in range(0, num_rows, ROWS_PER_SHARD)
    ]
    plan = make_plan([("rows.parquet", "parquet", ranges)])
    claim_output(layout, job, overwrite=False)
    columns = schema.score_schema(answer=answer_fields(_RULE, num_labels), teacher=teacher_fields(_RULE))
    metadata = with_metadata(columns, {"fingerprint": job.fingerprint})
    rng = np.random.default_rng(0)
    for item in plan.items:
        with ShardWriter(layout, item.shard_name, metadata) as shard:
            values = _columns(rng, item.rows, labels)
            shard.write(pa.table([values[name] for name in columns.names], schema=metadata))
            shard.finish({"rejected": 0}, None)
    flops: FlopsModel = flops_model(BertConfig(num_labels=num_labels))

    def manifest(**fields: object) -> ScoreManifest:
        return ScoreManifest(**fields, model="random", flops=flops, certificate=None)

    commit(layout, job, plan, labels=labels, versions={}, build=manifest)


def _columns(rng: np.random.Generator, rows: RowRange, labels: tuple[str, ...]) -> dict[str, pa.Array]:
    num_rows = rows.num_rows
    unseen = rng.random(num_rows) >= 0.001
    logits = rng.normal(0, 2, (num_rows, len(labels))).astype(np.float32)
    tokens = rng.poisson(20, num_rows).astype(np.int32) + 2
    hashes = [rng.bytes(16) if not hidden else None for hidden in unseen]
    return {
        schema.SOURCE: source_column("rows.parquet", num_rows),
        schema.ROW: pa.array(np.arange(rows.first_row, rows.first_row + num_rows)),
        **answer_columns(logits, _RULE, labels),
        schema.EXIT_LAYER: pa.array(rng.geometric(0.3, num_rows).clip(1, _NUM_LAYERS).astype(np.int16)),
        schema.UNCERTAINTY: pa.array(rng.beta(1, 5, num_rows).astype(np.float32)),
        schema.NUM_TOKENS: pa.array(tokens),
        schema.NUM_UNKNOWN_TOKENS: pa.array(np.zeros(num_rows, dtype=np.int32)),
        schema.TRUNCATED: pa.array(np.zeros(num_rows, dtype=np.bool_)),
        **answer_columns(logits + 0.1, _RULE, labels, prefix=schema.TEACHER, unseen=unseen),
        schema.FIRST_UNCERTAINTY: pa.array(rng.beta(1, 5, num_rows).astype(np.float32), mask=unseen),
        schema.UNIT_HASH: pa.array(hashes, pa.binary(16)),
    }


def main() -> None:
    """Write a job, audit it in a process of its own, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--labels", type=int, default=2)
    parser.add_argument("--scores", type=Path, help="where the job is left, to be used again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scores = given.scores or Path(scratch) / "scores"
        if not scores.exists():
            write_job(scores, given.rows, given.labels)
        seconds, megabytes = _audited(scores)
    say(f"{given.rows:,} rows, {given.labels} labels: {seconds:.1f} s, at most {megabytes:,.0f} MB")


def _audited(scores: Path) -> tuple[float, float]:
    """Audit in a process of its own; return how long it took, and the most memory it had, in MB."""
    started, most = time.monotonic(), 0
    with subprocess.Popen(
        [sys.executable, "-m", "jobs", "audit", scores], stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            # Of a process that ends, the file is empty. What the kernel sums up at the end has the parent's.
            status = Path(f"/proc/{process.pid}/status").read_text()
            if found := re.search(r"VmHWM:\s*(\d+)", status):
                most = int(found[1])
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.monotonic() - started, most / 1024


if __name__ == "__main__":
    main()
