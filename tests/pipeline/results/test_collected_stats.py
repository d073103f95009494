from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from model.answers.rule import answer_rule
from model.answers.task import Task
from model.errors import ArtifactError
from pipeline.contract.layout import OutputLayout
from pipeline.results.collected_stats import collect
from pipeline.results.exit_stats_builder import ExitStatsBuilder
from pipeline.results.read_answers import LabelIds
from tests.pipeline.results.score_output import write_scores
from tests.pipeline.results.score_rows import (
    FLOPS,
    POLICY,
    batch,
    collected,
    random_rows,
)


def test_the_statistics_of_a_job_are_those_of_its_rows(tmp_path: Path):
    rows = random_rows(300)
    manifest = write_scores(tmp_path, rows, rows_per_shard=70)

    def truth(batch: pa.RecordBatch) -> LabelIds:
        assert batch["id"].to_pylist() == [str(row) for row in batch["row"].to_pylist()]
        assert set(batch["source"].to_pylist()) == {"a.csv"}
        return rows["truth"].to_numpy()[batch["row"].to_numpy()]

    stats = collect(OutputLayout(str(tmp_path)), manifest, truth).stats
    expected = collected(rows)
    assert (
        stats.as_table()
        .drop_columns("uncertainty_mean")
        .equals(expected.as_table().drop_columns("uncertainty_mean"))
    )
    np.testing.assert_allclose(
        stats.as_table()["uncertainty_mean"].to_numpy(), expected.as_table()["uncertainty_mean"].to_numpy()
    )
    assert stats.saved_compute == expected.saved_compute
    assert stats.num_shadow == expected.num_shadow > 0
    without = collect(OutputLayout(str(tmp_path)), manifest).stats
    assert (without.num_labelled, without.accuracy, without.rows) == (0, None, 300)


def test_a_shard_of_another_job_is_refused(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    manifest = write_scores(one, random_rows(200), rows_per_shard=70)
    write_scores(other, random_rows(200, seed=1), rows_per_shard=70)
    name = manifest.shard_names[1]
    (one / name).write_bytes((other / name).read_bytes())
    with pytest.raises(
        ArtifactError, match=rf"{name}' is not the shard that the manifest lists, but another"
    ):
        collect(OutputLayout(str(one)), manifest)


@pytest.mark.parametrize("kept_bytes", [0, 100, -20])
def test_a_truncated_shard_is_refused(tmp_path: Path, kept_bytes: int):
    manifest = write_scores(tmp_path, random_rows(200), rows_per_shard=70)
    path = tmp_path / manifest.shard_names[2]
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(ArtifactError, match="is missing or damaged"):
        collect(OutputLayout(str(tmp_path)), manifest)


def test_scores_of_the_sample_alone_say_nothing_of_full_depth():
    rule = answer_rule(Task.SCORE, ["s"], tolerance=0.5)
    rows = random_rows(6)
    known = batch(rows).drop_columns(["prediction", "teacher_prediction", "unit_hash"])
    scores = pa.RecordBatch.from_pydict(
        {
            **{name: known[name] for name in known.schema.names},
            "score": pa.array([0.0, 1, 2, 3, 4, 5], pa.float32()),
            "teacher_score": pa.array([0.2, None, 3, None, None, 5], pa.float32()),
            "unit_hash": pa.array([bytes([row] * 16) for row in range(6)], pa.binary(16)),
        }
    )
    builder = ExitStatsBuilder(rule, ("s",), FLOPS, POLICY)
    builder.add(scores)
    stats = builder.build()
    assert (stats.shadow_texts.num_texts, stats.shadow_texts.num_disagreements) == (3, 1)
    assert len(stats.sampled_texts) == 6
