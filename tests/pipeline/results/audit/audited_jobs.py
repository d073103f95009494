"""Finished jobs under a certificate, and what is said of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from model.guarantee.policy_reference import AnsweredTexts, PolicyReference, policy_reference
from pipeline.contract.certificate import Certificate
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest
from pipeline.contract.work_times import Phase, RunTimes, WorkTimes, write_run_times
from pipeline.results.audit.comparison import FinishedJob
from pipeline.results.audit.report import AuditReport, make_report
from pipeline.results.collected_stats import collect
from tests.model.exit_populations import exit_calibration
from tests.pipeline.results.score_output import write_scores
from tests.pipeline.results.score_rows import LABELS, NUM_LAYERS, random_rows

# What workers were at, in seconds.
WORK = WorkTimes(
    num_rows=2001,
    phases={Phase.READ: 1.0, Phase.TOKENIZE: 2.0, Phase.NETWORK: 16.0, Phase.WRITE: 1.0},
    parts={"embeddings": 1.0, "layer_1": 4.0, "branch_1": 1.0, "layer_2": 2.0},
)


@dataclass(frozen=True, kw_only=True)
class AuditedJob:
    """A job, its rows and its report."""

    rows: pd.DataFrame
    layout: OutputLayout
    manifest: ScoreManifest
    report: AuditReport


def reference_of(rows: pd.DataFrame) -> PolicyReference:
    """What a certificate would hold, had `rows` tested it."""
    flat = np.random.default_rng(0).random((len(rows), NUM_LAYERS)).astype(np.float32)
    return policy_reference(
        AnsweredTexts(
            exit_layer=rows["exit_layer"].to_numpy().astype(np.int64),
            first_uncertainty=rows["first_uncertainty"].to_numpy().astype(np.float64),
            num_tokens=rows["num_tokens"].to_numpy().astype(np.int64),
            num_unknown=rows["num_unknown_tokens"].to_numpy().astype(np.int64),
            called=np.array(rows["prediction"])[:, None] == np.array(LABELS),
            one_holds=True,
        ),
        exits=range(1, NUM_LAYERS + 1),
        uncertainty=flat,
        uncertainty_of_speeds=flat,
        agrees=flat < 0.9,
    )


def certificate(*, max_disagreement: float, tested_by: pd.DataFrame) -> Certificate:
    """A promise, whatever becomes of it."""
    policy = exit_calibration(900).policy(max_disagreement=0.3)
    made = Certificate.of(policy, ("ham", "spam", "other"))
    return replace(
        made,
        max_disagreement=max_disagreement,
        is_certified=True,
        reference=reference_of(tested_by),
        speed_curve=((1.5, 1.49), (2.0, 2.02)),
    )


def rows_with_errors(num_rows: int, *, num_shadow: int, num_wrong: int, seed: int = 0) -> pd.DataFrame:
    """Rows, of which some are of the shadow sample, and some of these answered otherwise."""
    rows = random_rows(num_rows, seed=seed)
    draw = np.random.default_rng(seed)
    shadow = draw.permutation(num_rows)[:num_shadow]
    teacher = np.full(num_rows, None, dtype=object)
    teacher[shadow] = rows["prediction"].to_numpy()[shadow]
    for row in shadow[:num_wrong]:
        teacher[row] = LABELS[(LABELS.index(rows["prediction"][row]) + 1) % len(LABELS)]
    rows["teacher_prediction"] = teacher
    rows["unit_hash"] = [
        None if label is None else row.to_bytes(16, "big") for row, label in enumerate(teacher)
    ]
    return rows


def audited(
    directory: Path,
    rows: pd.DataFrame,
    made: Certificate | None,
    *,
    kept: Sequence[str] = (),
    is_labelled: bool = False,
    work: WorkTimes | None = None,
) -> AuditedJob:
    """Write a job, and report on it."""
    manifest = write_scores(directory, rows, rows_per_shard=400, certificate=made, kept=kept)
    layout = OutputLayout(str(directory))
    if work:
        run = RunTimes(fingerprint=manifest.fingerprint, wall_seconds=work.busy_seconds / 2, work=work)
        write_run_times(layout, run)
    truth = rows["truth"].to_numpy()
    collected = collect(
        layout, manifest, (lambda batch: truth[batch["row"].to_numpy()]) if is_labelled else None
    )
    return AuditedJob(
        rows=rows, layout=layout, manifest=manifest, report=make_report(layout, manifest, collected)
    )


def finished(job: AuditedJob) -> FinishedJob:
    """A job, as it is compared."""
    return FinishedJob(layout=job.layout, manifest=job.manifest, report=job.report)
