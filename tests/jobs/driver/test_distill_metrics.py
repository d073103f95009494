from dataclasses import replace
from pathlib import Path

import pytest

from jobs.driver.distill_metrics import DistillationJob, DistillMetrics, known_metrics
from model.checkpoints.hub import METRICS_FILE
from model.engine.execution import Backend, Precision
from model.network.branch_design import BranchDesign
from model.training.distillation_config import KlDirection
from model.training.distillation_result import Advice, RoundQualities, TrainedBranch
from model.training.self_distillation import BranchQuality
from pipeline.contract.typed_json import write_typed

JOB = DistillationJob(
    labels=("l",),
    backbone="b",
    epochs=None,
    learning_rate=1e-3,
    batch_size=64,
    branch=BranchDesign.POOLING,
    seed=0,
    kl_direction=KlDirection.TEACHER_STUDENT,
    hard_label_weight=0.0,
    lexical_size=64.0,
    precision=Precision.FP32,
    backend=Backend.ONEDNN,
)
METRICS = DistillMetrics(config=JOB, num_train_rows=9, num_held_out_rows=1)


def branch(layer, advice, *, kl=0.3, train_kl=0.1):
    return TrainedBranch(
        layer=layer,
        kl=kl,
        agreement=0.9,
        train_kl=train_kl,
        fall=0.0,
        has_converged=advice is not Advice.MORE_EPOCHS,
        advice=advice,
    )


EPOCHS, TEXT, NOTHING = Advice.MORE_EPOCHS, Advice.MORE_TEXT, Advice.NOTHING


@pytest.mark.parametrize(
    ("advice", "said"),
    [
        ((), ""),
        ((EPOCHS,), "branch 1 still got better when training ended: more epochs would help"),
        (
            (TEXT, TEXT, NOTHING, TEXT),
            "branches 1 to 2, 4 converged, up to 3.0 times as far from the teacher on new text as on their "
            "own: more text would help; branch 3 converged, and neither more epochs nor more text would help "
            "much",
        ),
    ],
)
def test_what_is_said_of_branches(advice, said):
    branches = tuple(branch(layer, each) for layer, each in enumerate(advice, start=1))
    assert replace(METRICS, branches=branches).describe() == said


def test_a_round_that_is_trained_again_stands_once():
    def after(step, kl):
        quality = BranchQuality(layer=1, kl=kl, agreement=0.5)
        return RoundQualities(step=step, epochs=step / 10, branches=(quality,))

    metrics = METRICS.with_round(after(10, 0.5)).with_round(after(20, 0.4)).with_round(after(30, 0.3))
    again = metrics.with_round(after(20, 0.39))
    assert [(each.step, each.branches[0].kl) for each in again.rounds] == [(10, 0.5), (20, 0.39)]


def test_which_soft_labels_were_learnt_from_is_told_where_it_is_known(tmp_path: Path):
    assert known_metrics(tmp_path) is None
    write_typed(str(tmp_path / METRICS_FILE), METRICS)
    assert known_metrics(tmp_path) == METRICS
    assert METRICS.labels_learnt_from == ("l",)
    (tmp_path / METRICS_FILE).write_text("{")
    assert known_metrics(tmp_path) is None
