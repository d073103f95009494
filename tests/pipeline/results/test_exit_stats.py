import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig

from model.cost.flops import flops_model
from model.exits.policy import ExitPolicy
from pipeline.results.exit_stats import NO_LABEL, QUANTILES, ExitStats, ExitStatsBuilder, label_ids

LABELS = ("a", "b", "c")
NUM_LAYERS = 4
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
    draw = np.random.default_rng(seed)
    teacher = draw.choice([*LABELS, None], num_rows, p=[0.1, 0.1, 0.1, 0.7])
    return pd.DataFrame(
        {
            "exit_layer": draw.integers(1, layers + 1, num_rows).astype(np.int16),
            "num_tokens": draw.integers(2, 60, num_rows).astype(np.int32),
            "uncertainty": draw.beta(0.5, 0.5, num_rows).astype(np.float32),
            "prediction": draw.choice(LABELS, num_rows),
            "teacher_prediction": teacher,
            "truth": draw.integers(-1, 3, num_rows),
        }
    )


def batch(rows: pd.DataFrame) -> pa.RecordBatch:
    strings = {name: pa.array(rows[name], pa.string()) for name in ("prediction", "teacher_prediction")}
    numbers = {name: pa.array(rows[name]) for name in ("exit_layer", "num_tokens", "uncertainty")}
    return pa.RecordBatch.from_pydict(numbers | strings)


def collected(rows: pd.DataFrame, *, batch_rows: int = 10**6) -> ExitStats:
    builder = ExitStatsBuilder(LABELS, FLOPS, POLICY)
    for first in range(0, len(rows), batch_rows):
        part = rows.iloc[first : first + batch_rows]
        builder.add(batch(part), part["truth"].to_numpy())
    return builder.build()


def test_statistics_are_those_of_pandas():
    rows = random_rows(5000)
    table = collected(rows).as_table().to_pandas().set_index("exit_layer")
    by_layer = rows.groupby("exit_layer")
    assert table["rows"].tolist() == by_layer.size().tolist()
    np.testing.assert_allclose(table["share"], by_layer.size() / 5000)
    np.testing.assert_allclose(table["uncertainty_mean"], by_layer["uncertainty"].mean(), rtol=1e-6)
    for share in QUANTILES:
        values = (values for _, values in by_layer["uncertainty"])
        exact = [np.quantile(some, share, method="inverted_cdf") for some in values]
        np.testing.assert_allclose(table[f"uncertainty_p{share * 100:02.0f}"], exact, atol=1e-4)
    labelled, shadow = rows[rows["truth"] >= 0], rows[rows["teacher_prediction"].notna()]
    correct = labelled["prediction"] == np.array(LABELS)[labelled["truth"]]
    agreeing = shadow["prediction"] == shadow["teacher_prediction"]
    assert table["labelled_rows"].tolist() == labelled.groupby("exit_layer").size().tolist()
    assert table["shadow_rows"].tolist() == shadow.groupby("exit_layer").size().tolist()
    np.testing.assert_allclose(table["accuracy"], correct.groupby(labelled["exit_layer"]).mean())
    np.testing.assert_allclose(table["agreement"], agreeing.groupby(shadow["exit_layer"]).mean())
    for layer, predicted in by_layer["prediction"]:
        assert dict(table["predictions"][layer]) == predicted.value_counts().to_dict()


def test_totals_are_those_of_pandas():
    rows = random_rows(3000)
    stats = collected(rows)
    flops = [
        int(
            FLOPS.with_exits(np.array([row.num_tokens], dtype=np.int64), np.array([row.exit_layer]), POLICY)[
                0
            ]
        )
        for row in rows.itertuples()
    ]
    full = FLOPS.full_depth(rows["num_tokens"].to_numpy().astype(np.int64)).sum()
    assert stats.rows == 3000
    assert stats.mean_exit_layer == pytest.approx(rows["exit_layer"].mean())
    assert stats.saved_compute_speed_up == pytest.approx(full / sum(flops))
    ran = np.cumsum([*(threshold > 0 for threshold in POLICY.thresholds), True])
    classifiers = ran[rows["exit_layer"] - 1].mean()
    assert stats.paper_speed_up == pytest.approx(FLOPS.paper_speed_up(rows["exit_layer"].mean(), classifiers))
    shares = pd.Series(flops).groupby(rows["exit_layer"]).sum() / sum(flops)
    np.testing.assert_allclose(stats.as_table()["flops_share"].to_numpy(), shares)
    known = rows[rows["truth"] != NO_LABEL]
    accuracy = (known["prediction"] == np.array(LABELS)[known["truth"]]).mean()
    assert stats.share("correct", "labelled") == pytest.approx(accuracy)


@settings(max_examples=25, deadline=None)
@given(num_rows=st.integers(1, 80), batch_rows=st.integers(1, 80), seed=st.integers(0, 99))
def test_how_rows_come_in_batches_does_not_matter(num_rows: int, batch_rows: int, seed: int):
    rows = random_rows(num_rows, seed=seed)
    one, two = collected(rows), collected(rows, batch_rows=batch_rows)
    for first, second in zip(one.layers, two.layers, strict=True):
        assert (first.predictions == second.predictions).all()
        assert (first.uncertainty_bins == second.uncertainty_bins).all()
        assert first.uncertainty_sum == pytest.approx(second.uncertainty_sum)
        assert (first.flops, first.correct, first.agreeing) == (second.flops, second.correct, second.agreeing)
    assert one.saved_compute_speed_up == two.saved_compute_speed_up


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50), st.floats(0.001, 1))
def test_a_quantile_is_exact_to_a_ten_thousandth(values: list[float], share: float):
    rows = random_rows(len(values)).assign(uncertainty=np.array(values, np.float32), exit_layer=np.int16(1))
    found = collected(rows).layers[0].quantile(share)
    exact = np.quantile(np.array(values, np.float32).astype(float), share, method="inverted_cdf")
    assert abs(found - exact) <= 1e-4


def test_a_layer_where_nothing_left_has_no_statistics():
    table = collected(random_rows(50, layers=2)).as_table()
    assert table["rows"].to_pylist()[2:] == [0, 0]
    for name in ("uncertainty_mean", "uncertainty_p50", "accuracy", "agreement"):
        assert table[name].to_pylist()[2:] == [None, None]


def test_without_any_rows_there_is_a_table_all_the_same(tmp_path: Path):
    stats = collected(random_rows(0))
    assert (stats.rows, stats.mean_exit_layer, stats.saved_compute_speed_up) == (0, 0.0, 1.0)
    assert stats.share("correct", "labelled") is None
    pq.write_table(stats.as_table(), tmp_path / "a.parquet")
    assert pd.read_parquet(tmp_path / "a.parquet")["rows"].tolist() == [0] * NUM_LAYERS


def test_what_holds_for_all_layers_is_in_the_metadata(tmp_path: Path):
    rows = random_rows(500).assign(teacher_prediction=None, truth=NO_LABEL)
    pq.write_table(collected(rows).as_table(), tmp_path / "a.parquet")
    overall = json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"fastbert.overall"])
    assert overall["rows"] == 500
    assert overall["mean_exit_layer"] == pytest.approx(rows["exit_layer"].mean())
    assert (overall["accuracy"], overall["agreement_on_shadow_sample"]) == (None, None)


def test_names_become_places_and_strange_ones_do_not():
    names = pa.array(["c", None, "a", "z"])
    assert label_ids(names, LABELS).tolist() == [2, NO_LABEL, 0, NO_LABEL]
    assert label_ids(pa.array([], pa.string()), LABELS).tolist() == []
