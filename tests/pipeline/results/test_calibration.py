from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import BertConfig

from model.cost.flops import flops_model
from model.cost.latency import RunCost
from model.errors import OutputError, ParameterError
from model.guarantee.binomial import upper_bound
from pipeline.results.calibration import Calibration
from pipeline.results.calibration_table import SEARCH, TEST, CalibrationRows

LABELS = ("ham", "spam", "other")
LAYERS = 4


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of a model whose exits get better from layer to layer and know what they do not know."""
    rng = np.random.default_rng(0)
    num_rows = 6000
    teacher = rng.choice(3, size=num_rows, p=[0.6, 0.1, 0.3])
    depth = np.arange(1, LAYERS + 1)[:, None] * 2.0
    logits = rng.normal(0, 1, (num_rows, LAYERS, 3)) + np.eye(3)[teacher][:, None] * depth
    logits[:, -1] = np.eye(3)[teacher] * 9
    logits = logits.astype(np.float32)
    odds = np.exp(logits)
    shares = odds / odds.sum(axis=2, keepdims=True)
    config = BertConfig(hidden_size=32, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=64)
    return Calibration(
        labels=LABELS,
        rows=CalibrationRows(
            sources=["a.tsv", "b.tsv"] * (num_rows // 2),
            rows=np.arange(num_rows),
            num_tokens=rng.integers(3, 40, num_rows),
            teacher_labels=teacher,
            logits=logits,
            uncertainty=(-(shares * np.log(shares)).sum(axis=2) / np.log(3)).astype(np.float32),
        ),
        temperatures=(1.5, 1.0, 0.9),
        flops=flops_model(config, branch_size=8),
        cost=RunCost(layer_seconds=1.0, branch_seconds=0.1, layer_flops=100.0, branch_flops=10.0),
        model="abc",
        execution={"device": "cpu", "precision": "fp32", "backend": "onednn"},
        max_length=40,
        facts={"speed_curve": [[2.0, 2.1]]},
    )


def outcome(calibration: Calibration, thresholds: tuple[float, ...], half: slice) -> np.ndarray:
    """(rows,) whether each row of a half is answered otherwise."""
    uncertainty = calibration.rows.uncertainty[half, :-1]
    leaves = np.append(
        uncertainty < np.array(thresholds, dtype=np.float32), np.ones((len(uncertainty), 1)), 1
    )
    wrong: np.ndarray = calibration.rows.is_wrong[half][np.arange(len(uncertainty)), leaves.argmax(axis=1)]
    return wrong


def test_a_promise_is_kept_on_the_half_that_tests_it(calibration: Calibration):
    policy = calibration.policy(max_disagreement=0.02, confidence=0.9)
    wrong = outcome(calibration, policy.thresholds, TEST)
    assert policy.is_certified
    assert policy.temperatures == calibration.temperatures
    assert policy.speed_up > 1.3
    assert (policy.evidence.num_rows, policy.evidence.num_wrong) == (3000, wrong.sum())
    assert policy.evidence.wrong_bound == upper_bound(int(wrong.sum()), 3000, 0.9) <= 0.02
    assert policy.name == "max disagreement 0.02, confidence 0.9"


def test_more_may_be_wrong_faster_it_is(calibration: Calibration):
    speeds = [calibration.policy(max_disagreement=share).speed_up for share in (0.005, 0.01, 0.02, 0.05)]
    assert speeds == sorted(speeds)
    assert speeds[0] < speeds[-1]


def test_a_label_may_be_promised_more(calibration: Calibration):
    policy = calibration.policy(max_disagreement=0.05, max_missed={"spam": 0.02})
    wrong, teacher = outcome(calibration, policy.thresholds, TEST), calibration.rows.teacher_labels[TEST]
    missed, rows, bound = policy.evidence.missed[1]
    assert (missed, rows) == (wrong[teacher == 1].sum(), (teacher == 1).sum())
    assert bound <= 0.02
    assert policy.speed_up < calibration.policy(max_disagreement=0.05).speed_up
    assert policy.as_json(LABELS)["missed"] == {
        "spam": {"num_wrong": missed, "num_rows": rows, "wrong_bound": bound}
    }


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        (
            {"max_disagreement": 0.0005},
            "test rows otherwise: full depth; 0.0005 at 0.95 takes 5,990 test rows, none of them answered "
            "otherwise, and as many to search with",
        ),
        (
            {"max_disagreement": 0.1, "max_missed": {"spam": 0.005}},
            "test rows that the teacher calls spam otherwise: full depth; 0.005 at 0.95 takes ",
        ),
    ],
)
def test_what_cannot_be_shown_says_how_many_rows_it_would_take(
    calibration: Calibration, asked: dict, note: str
):
    policy = calibration.policy(**asked)
    assert not policy.is_certified
    assert policy.thresholds == (0.0,) * (LAYERS - 1)
    assert policy.speed_up == 1
    assert note in policy.note


def test_exits_that_are_always_wrong_need_no_more_rows(calibration: Calibration):
    rows = calibration.rows
    logits = rows.logits.copy()
    logits[:, :-1] = np.eye(3)[(rows.teacher_labels + 1) % 3][:, None]
    policy = replace(calibration, rows=replace(rows, logits=logits)).policy(max_disagreement=0.01)
    assert not policy.is_certified
    assert policy.thresholds == (0.0,) * (LAYERS - 1)
    assert policy.note


def test_exits_that_save_no_time_are_left_out(calibration: Calibration):
    dear = replace(calibration.cost, branch_seconds=1000.0)
    policy = replace(calibration, cost=dear).policy(max_disagreement=0.05)
    assert policy.thresholds == (0.0,) * (LAYERS - 1)
    assert policy.note == "no exit saves any time: full depth"


@pytest.mark.parametrize("target", [1.0, 1.5, 2.5])
def test_a_target_speed_up_is_hit_on_all_rows(calibration: Calibration, target: float):
    policy = calibration.policy(target_speedup=target)
    assert policy.speed_up == pytest.approx(target, rel=0.05)
    assert not policy.is_certified
    assert policy.target_speedup == target
    assert policy.name == f"target speed-up {target:g}"


def test_the_curve_is_found_on_rows_that_thresholds_were_not_set_by(calibration: Calibration):
    curve = calibration.speed_curve((1.5, 2.0, 100.0))
    assert [asked for asked, _ in curve] == [1.5, 2.0]
    for asked, found in curve:
        assert found == pytest.approx(asked, rel=0.05)


@pytest.mark.parametrize("asked", [{}, {"max_disagreement": 0.1, "target_speedup": 2.0}])
def test_exactly_one_thing_is_asked_for(calibration: Calibration, asked: dict):
    with pytest.raises(ParameterError, match="give exactly one of"):
        calibration.policy(**asked)


def test_missed_labels_do_not_go_with_a_target(calibration: Calibration):
    with pytest.raises(ParameterError, match="`max_missed` goes with `max_disagreement`"):
        calibration.policy(target_speedup=2.0, max_missed={"spam": 0.1})


def test_what_is_saved_is_loaded(calibration: Calibration, tmp_path: Path):
    calibration.save(str(tmp_path))
    loaded = Calibration.load(str(tmp_path))
    for name, value in vars(calibration.rows).items():
        np.testing.assert_array_equal(value, getattr(loaded.rows, name))
    for name in ("labels", "temperatures", "flops", "cost", "model", "execution", "max_length", "facts"):
        assert getattr(loaded, name) == getattr(calibration, name)
    asked = {"max_disagreement": 0.02}
    assert loaded.policy(**asked) == calibration.policy(**asked)


def test_the_same_calibration_is_the_same_bytes(calibration: Calibration, tmp_path: Path):
    for name in ("one", "two"):
        calibration.save(str(tmp_path / name))
    for file in ("calibration.json", "calibration.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_where_nothing_can_be_written(calibration: Calibration, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"the calibration cannot be written to .*; give another `output`"):
        calibration.save(str(tmp_path / "file" / "below"))


def test_a_policy_is_for_what_it_was_calibrated_on(calibration: Calibration):
    fits = {"model": "abc", "execution": dict(calibration.execution), "max_length": 40}
    calibration.check_fits("d", **fits)
    with pytest.raises(OutputError, match="'d' is another model's"):
        calibration.check_fits("d", **{**fits, "model": "abd"})
    with pytest.raises(OutputError, match=r"made otherwise: backend \(onednn there, torch asked for\)"):
        calibration.check_fits("d", **{**fits, "execution": {**calibration.execution, "backend": "torch"}})
    with pytest.raises(OutputError, match=r"made otherwise: max_length \(40 there, 20 asked for\)"):
        calibration.check_fits("d", **{**fits, "max_length": 20})


def test_halves_share_no_row_and_leave_none_out(calibration: Calibration):
    rows = calibration.rows.rows
    assert sorted([*rows[SEARCH], *rows[TEST]]) == rows.tolist()
