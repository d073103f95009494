"""Random rows of score shards, and their exit statistics."""

import numpy as np
import pandas as pd
import pyarrow as pa
from transformers import BertConfig

from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.cost.network_flops import flops_model
from model.exits.policy import ExitPolicy
from pipeline.contract.arrays import source_column
from pipeline.results.exit_stats import ExitStats
from pipeline.results.exit_stats_builder import ExitStatsBuilder

LABELS = ("a", "b", "c")
RULE = AnswerRule(task=Task.ONE_LABEL)
NUM_LAYERS = 4
# Columns of numbers.
NUMBERS = ("exit_layer", "num_tokens", "num_unknown_tokens", "uncertainty", "first_uncertainty")
FLOPS = flops_model(
    BertConfig(
        hidden_size=32,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=3,
    )
)
POLICY = ExitPolicy.from_speed(0.5, num_layers=NUM_LAYERS)


def random_rows(num_rows: int, *, seed: int = 0, layers: int = NUM_LAYERS) -> pd.DataFrame:
    """Rows that left at any of the first `layers`; their true labels in `truth`, -1 where unknown."""
    draw = np.random.default_rng(seed)
    teacher = draw.choice([*LABELS, None], num_rows, p=[0.1, 0.1, 0.1, 0.7])
    rows = pd.DataFrame(
        {
            "exit_layer": draw.integers(1, layers + 1, num_rows).astype(np.int16),
            "num_tokens": draw.integers(2, 60, num_rows).astype(np.int32),
            "num_unknown_tokens": draw.integers(0, 2, num_rows).astype(np.int32),
            "uncertainty": draw.beta(0.5, 0.5, num_rows).astype(np.float32),
            "prediction": draw.choice(LABELS, num_rows),
            "teacher_prediction": teacher,
            "truth": draw.integers(-1, 3, num_rows),
            "unit_hash": [
                None if label is None else row.to_bytes(16, "big") for row, label in enumerate(teacher)
            ],
        }
    )
    # Of those that left there the same.
    went_on = draw.beta(2, 2, num_rows).astype(np.float32)
    rows["first_uncertainty"] = rows["uncertainty"].where(rows["exit_layer"] == 1, went_on)
    return rows


def batch(rows: pd.DataFrame) -> pa.RecordBatch:
    """Rows as they are read from a shard."""
    strings = {name: pa.array(rows[name], pa.string()) for name in ("prediction", "teacher_prediction")}
    numbers = {name: pa.array(rows[name]) for name in NUMBERS}
    hashes = pa.array(rows["unit_hash"].tolist(), pa.binary(16))
    places = {"source": source_column("a.csv", len(rows)), "row": pa.array(rows.index)}
    return pa.RecordBatch.from_pydict(places | numbers | strings | {"unit_hash": hashes})


def collected(rows: pd.DataFrame, *, batch_rows: int = 10**6) -> ExitStats:
    """What is counted of rows that come so many at a time."""
    builder = ExitStatsBuilder(RULE, LABELS, FLOPS, POLICY)
    for first in range(0, len(rows), batch_rows):
        part = rows.iloc[first : first + batch_rows]
        builder.add(batch(part), part["truth"].to_numpy())
    return builder.build()
