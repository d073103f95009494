from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.exits.policy import ExitPolicy
from model.network.part_flops import BranchFlops
from model.training.labelled_texts import NO_LABEL
from pipeline.results.exit_stats_builder import ExitStatsBuilder
from pipeline.results.read_answers import label_ids
from tests.pipeline.results.score_rows import (
    FLOPS,
    LABELS,
    NUM_LAYERS,
    POLICY,
    RULE,
    batch,
    collected,
    random_rows,
)


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
    assert stats.saved_compute == pytest.approx(full / sum(flops))
    # Rows of the shadow sample come to the last layer whatever they answered before, through all branches.
    tokens = rows["num_tokens"].to_numpy().astype(np.int64)
    to_the_end = FLOPS.with_exits(tokens, np.full(3000, NUM_LAYERS), POLICY)
    run = np.where(rows["teacher_prediction"].notna(), to_the_end, flops)
    assert sum(flops) < run.sum()
    assert stats.saved_compute_with_shadow == pytest.approx(full / run.sum())
    ran = np.cumsum([*(threshold > 0 for threshold in POLICY.thresholds), True])
    classifiers = ran[rows["exit_layer"] - 1].mean()
    assert stats.paper_saved_compute == pytest.approx(
        FLOPS.paper_saved_compute(rows["exit_layer"].mean(), classifiers)
    )
    shares = pd.Series(flops).groupby(rows["exit_layer"]).sum() / sum(flops)
    np.testing.assert_allclose(stats.as_table()["flops_share"].to_numpy(), shares)
    known = rows[rows["truth"] != NO_LABEL]
    accuracy = (known["prediction"] == np.array(LABELS)[known["truth"]]).mean()
    assert stats.accuracy == pytest.approx(accuracy)


@settings(max_examples=25, deadline=None)
@given(num_rows=st.integers(1, 80), batch_rows=st.integers(1, 80), seed=st.integers(0, 99))
def test_how_rows_come_in_batches_does_not_matter(num_rows: int, batch_rows: int, seed: int):
    rows = random_rows(num_rows, seed=seed)
    one, two = collected(rows), collected(rows, batch_rows=batch_rows)
    for first, second in zip(one.exits.values(), two.exits.values(), strict=True):
        assert (first.called == second.called).all()
        assert (first.uncertainty_bins == second.uncertainty_bins).all()
        assert first.uncertainty_sum == pytest.approx(second.uncertainty_sum)
        assert (first.flops, first.correct, first.agreeing) == (second.flops, second.correct, second.agreeing)
    assert one.saved_compute == two.saved_compute
    assert one.saved_compute_with_shadow == two.saved_compute_with_shadow


def test_what_left_before_the_first_layer_is_counted_as_exit_0():
    lexical = replace(FLOPS, lexical=BranchFlops(per_token=3, per_text=11))
    policy = replace(POLICY, lexical_threshold=0.5)
    rows = random_rows(500)
    rows["exit_layer"] -= 1  # from 0
    builder = ExitStatsBuilder(RULE, LABELS, lexical, policy)
    builder.add(batch(rows))
    stats = builder.build()
    assert list(stats.exits) == [0, 1, 2, 3, 4]
    assert [each.rows for each in stats.exits.values()] == [
        int((rows["exit_layer"] == exit_layer).sum()) for exit_layer in range(5)
    ]
    tokens = rows["num_tokens"].to_numpy().astype(np.int64)
    assert stats.exits[0].flops == (3 * tokens + 11)[rows["exit_layer"] == 0].sum()
    assert stats.mean_exit_layer == pytest.approx(rows["exit_layer"].mean())
    flops = lexical.with_exits(tokens, rows["exit_layer"].to_numpy(), policy)
    assert stats.saved_compute == pytest.approx(lexical.full_depth(tokens).sum() / flops.sum())
    # One branch a layer, and the teacher's classifier after the last.
    assert stats.paper_saved_compute == pytest.approx(
        lexical.paper_saved_compute(rows["exit_layer"].mean(), runs_lexical=True)
    )
    assert stats.as_table()["exit_layer"].to_pylist() == [0, 1, 2, 3, 4]


def test_more_flops_than_64_bits_hold_are_added_up():
    rows = random_rows(6000)
    large = replace(FLOPS, layer_linears=tuple(linears * 10**9 for linears in FLOPS.layer_linears))
    builder = ExitStatsBuilder(RULE, LABELS, large, POLICY)
    builder.add(batch(rows))
    stats = builder.build()
    tokens = rows["num_tokens"].to_numpy().astype(np.int64)
    run = large.with_exits(tokens, rows["exit_layer"].to_numpy(), POLICY).tolist()
    full_depth = sum(large.full_depth(tokens).tolist())
    assert full_depth > 2**63
    assert stats.saved_compute == pytest.approx(full_depth / sum(run))
    assert sum(stats.as_table()["flops_share"].to_pylist()) == pytest.approx(1)


def test_where_all_left_before_the_first_layer_nothing_is_divided_by_0():
    rows = random_rows(20)
    rows["exit_layer"] = np.int16(0)
    lexical = replace(FLOPS, lexical=BranchFlops(per_token=3, per_text=11))
    builder = ExitStatsBuilder(RULE, LABELS, lexical, ExitPolicy.from_exit_layer(0, num_layers=NUM_LAYERS))
    builder.add(batch(rows))
    stats = builder.build()
    assert (stats.mean_exit_layer, stats.exits[0].rows) == (0, 20)
    assert stats.paper_saved_compute == FLOPS.paper_full_depth() / (3 * 128 + 11)
    assert np.isfinite(stats.saved_compute)


def test_names_become_places_and_strange_ones_do_not():
    names = pa.array(["c", None, "a", "z"])
    assert label_ids(names, LABELS).tolist() == [2, NO_LABEL, 0, NO_LABEL]
    assert label_ids(pa.array([], pa.string()), LABELS).tolist() == []
