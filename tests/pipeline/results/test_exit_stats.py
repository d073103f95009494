import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.labelled_texts import NO_LABEL
from pipeline.results.exit_stats import QUANTILES
from tests.pipeline.results.score_rows import LABELS, NUM_LAYERS, collected, random_rows


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
        assert dict(table["called"][layer]) == predicted.value_counts().to_dict()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50), st.floats(0.001, 1))
def test_a_quantile_is_exact_to_a_ten_thousandth(values: list[float], share: float):
    rows = random_rows(len(values)).assign(uncertainty=np.array(values, np.float32), exit_layer=np.int16(1))
    found = collected(rows).exits[1].quantile(share)
    exact = np.quantile(np.array(values, np.float32).astype(float), share, method="inverted_cdf")
    assert abs(found - exact) <= 1e-4


def test_a_layer_where_nothing_left_has_no_statistics():
    table = collected(random_rows(50, layers=2)).as_table()
    assert table["rows"].to_pylist()[2:] == [0, 0]
    for name in ("uncertainty_mean", "uncertainty_p50", "accuracy", "agreement"):
        assert table[name].to_pylist()[2:] == [None, None]


def test_without_any_rows_there_is_a_table_all_the_same(tmp_path: Path):
    stats = collected(random_rows(0))
    assert (stats.rows, stats.mean_exit_layer, stats.saved_compute) == (0, 0.0, 1.0)
    assert stats.accuracy is None
    pq.write_table(stats.as_table(), tmp_path / "a.parquet")
    assert pd.read_parquet(tmp_path / "a.parquet")["rows"].tolist() == [0] * NUM_LAYERS


def test_what_holds_for_all_layers_is_in_the_metadata(tmp_path: Path):
    rows = random_rows(500).assign(teacher_prediction=None, unit_hash=None, truth=NO_LABEL)
    pq.write_table(collected(rows).as_table(), tmp_path / "a.parquet")
    overall = json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"fastbert.overall"])
    assert overall["rows"] == 500
    assert overall["mean_exit_layer"] == pytest.approx(rows["exit_layer"].mean())
    assert (overall["accuracy"], overall["agreement_on_shadow_sample"]) == (None, None)


def test_rows_of_known_label_and_of_the_shadow_sample_are_those_of_pandas():
    rows = random_rows(3000)
    stats = collected(rows)
    known, shadow = rows[rows["truth"] != NO_LABEL], rows[rows["teacher_prediction"].notna()]
    agrees = shadow["prediction"] == shadow["teacher_prediction"]
    assert (stats.num_labelled, stats.num_shadow) == (len(known), len(shadow))
    assert stats.num_shadow_disagreements == (~agrees).sum() > 0
    assert stats.shadow_agreement == pytest.approx(agrees.mean())
    assert stats.accuracy == pytest.approx((known["prediction"] == np.array(LABELS)[known["truth"]]).mean())


def test_without_labels_or_sample_there_is_no_share_of_them():
    stats = collected(random_rows(50).assign(teacher_prediction=None, unit_hash=None, truth=NO_LABEL))
    assert (stats.accuracy, stats.shadow_agreement) == (None, None)
    assert (stats.num_labelled, stats.num_shadow, stats.num_shadow_disagreements) == (0, 0, 0)


def test_what_is_told_of_all_rows_is_in_the_metadata_too(tmp_path: Path):
    stats = collected(random_rows(500))
    pq.write_table(stats.as_table(), tmp_path / "a.parquet")
    assert json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"fastbert.overall"]) == {
        "rows": stats.rows,
        "mean_exit_layer": stats.mean_exit_layer,
        "paper_saved_compute": stats.paper_saved_compute,
        "saved_compute": stats.saved_compute,
        "saved_compute_with_shadow": stats.saved_compute_with_shadow,
        "accuracy": stats.accuracy,
        "agreement_on_shadow_sample": stats.shadow_agreement,
        "shadow_texts": stats.num_shadow,
        "shadow_texts_that_disagree": stats.num_shadow_disagreements,
    }
