"""All that `audit` says of a job: what its page shows and its JSON file holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.guarantee.drift import DriftReport
from model.guarantee.policy_reference import CURVE_BINS, PolicyReference
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import REJECTED, ScoreManifest
from pipeline.contract.schema import TRUNCATED
from pipeline.contract.work_times import read_run_times
from pipeline.results.audit.agreement import Agreement, agreement_of
from pipeline.results.audit.drift_of_job import drift_of
from pipeline.results.audit.examples import Examples, read_examples
from pipeline.results.audit.labelled import Labelled, labelled_of
from pipeline.results.audit.promise import PromiseReport, check_promise
from pipeline.results.audit.rejected import RejectedRows, rejected_of
from pipeline.results.audit.share import Share
from pipeline.results.audit.times import JobTimes, job_times
from pipeline.results.collected_stats import CollectedStats
from pipeline.results.exit_stats import QUANTILES, ExitLayerStats, ExitStats

_LENGTH_BINS = 24


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """What was scored, and how.

    Attributes:
        scores: the job's directory, as it was named.
        model: what the user calls the model.
        policy: what was asked for.
        answers: what is compared, as "labels".
        num_layers: of the model.
        precision: number format.
        device: where it ran.
        max_length: tokens that a text was cut to.
        rows: in the shards.
        rejected: of all rows of the input.
        truncated: of the rows in the shards, those that were cut.
        shadow_fraction: share of the texts that was to be answered at full depth too.
    """

    scores: str
    model: str
    policy: str
    answers: str
    num_layers: int
    precision: str
    device: str
    max_length: int
    rows: int
    rejected: Share
    truncated: Share
    shadow_fraction: float


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Compute that was saved.

    Attributes:
        asked: as a multiple of full depth's; None where something else was asked for.
        expected: of the calibration's test rows; None of a policy that was not calibrated.
        found: of this job's rows, real lengths, attention and branches counted.
        with_shadow: the same, what the shadow sample was run further counted too; None without such a sample.
        paper: the same by the paper's count.
        mean_exit_layer: over all rows.
    """

    asked: float | None
    expected: float | None
    found: float
    with_shadow: float | None
    paper: float
    mean_exit_layer: float


@dataclass(frozen=True, kw_only=True)
class ExitFigures:
    """What left at one exit.

    Attributes:
        exit_layer: which exit.
        threshold: of its uncertainty, over the length's power that the policy divides by; None of the last
            layer, 0 where nothing may leave.
        rows: that left here.
        flops_share: of the job's FLOPs, those of these rows.
        mean_uncertainty: of them; None of none.
        quantiles: (5,) of their uncertainty: 5, 25, 50, 75 and 95 %; empty of none.
        uncertainty: (20,) rows in equal bins of uncertainty from 0 to 1.
        mean_tokens: of them; None of none.
        called: rows by what they are called.
    """

    exit_layer: int
    threshold: float | None
    rows: int
    flops_share: float
    mean_uncertainty: float | None
    quantiles: tuple[float, ...]
    uncertainty: tuple[int, ...]
    mean_tokens: float | None
    called: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class LengthBin:
    """Rows of about one length.

    Attributes:
        first: tokens, at least.
        last: tokens, at most.
        rows: so long.
    """

    first: int
    last: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """All that is said of a job.

    Attributes:
        job: what was scored, and how.
        promise: what was promised, and what became of it.
        drift: whether the texts are like the calibration's; None where there is nothing to tell it by.
        savings: compute that was saved.
        times: what the job took; None where its runner tells nothing.
        exits: where the rows left, in order.
        lengths: of all rows.
        agreement: with full depth, on the shadow sample.
        labelled: answers against true labels; None where none are known.
        rejected: rows that have no answer, by reason.
        examples: rows to look at.
        reference: what the policy did to the calibration's test rows; None of a policy that has none.
    """

    job: JobFacts
    promise: PromiseReport
    drift: DriftReport | None
    savings: Savings
    times: JobTimes | None
    exits: tuple[ExitFigures, ...]
    lengths: tuple[LengthBin, ...]
    agreement: Agreement
    labelled: Labelled | None
    rejected: tuple[RejectedRows, ...]
    examples: Examples
    reference: PolicyReference | None


def make_report(layout: OutputLayout, manifest: ScoreManifest, collected: CollectedStats) -> AuditReport:
    """Return all that is said of a finished job.

    Raises:
        ArtifactError: if a shard or a file of rejected rows is damaged.
    """
    stats, certificate = collected.stats, manifest.certificate
    texts = stats.shadow_texts
    return AuditReport(
        job=_facts(layout, manifest, stats),
        promise=check_promise(manifest, texts, stats.names),
        drift=drift_of(manifest, stats.sampled_texts),
        savings=Savings(
            asked=certificate.target_speedup if certificate else None,
            expected=certificate.saved_compute if certificate else None,
            found=stats.saved_compute,
            with_shadow=stats.saved_compute_with_shadow if stats.num_shadow else None,
            paper=stats.paper_saved_compute,
            mean_exit_layer=stats.mean_exit_layer,
        ),
        times=job_times(read_run_times(layout, manifest.fingerprint), num_layers=manifest.flops.num_layers),
        exits=_exits(manifest, stats),
        lengths=_lengths(stats),
        agreement=agreement_of(texts.rows, stats.names),
        labelled=labelled_of(stats),
        rejected=rejected_of(layout, manifest),
        examples=read_examples(layout, manifest, collected.examples),
        reference=certificate.reference if certificate else None,
    )


def _facts(layout: OutputLayout, manifest: ScoreManifest, stats: ExitStats) -> JobFacts:
    settings, counts = manifest.settings, manifest.counts
    rejected = counts.get(REJECTED, 0)
    return JobFacts(
        scores=layout.directory,
        model=manifest.model,
        policy=settings.policy,
        answers=str(settings.answer),
        num_layers=manifest.flops.num_layers,
        precision=settings.precision,
        device=settings.device,
        max_length=settings.max_length,
        rows=stats.rows,
        rejected=Share.of(rejected, stats.rows + rejected),
        truncated=Share.of(counts.get(TRUNCATED, 0), stats.rows),
        shadow_fraction=settings.shadow_fraction,
    )


def _exits(manifest: ScoreManifest, stats: ExitStats) -> tuple[ExitFigures, ...]:
    settings, last = manifest.settings, manifest.flops.num_layers
    thresholds = (settings.lexical_threshold, *settings.thresholds)
    flops = max(sum(each.flops for each in stats.exits.values()), 1)
    return tuple(
        ExitFigures(
            exit_layer=exit_layer,
            threshold=None if exit_layer == last else thresholds[exit_layer],
            rows=here.rows,
            flops_share=here.flops / flops,
            mean_uncertainty=here.uncertainty_sum / here.rows if here.rows else None,
            quantiles=tuple(map(here.quantile, QUANTILES)) if here.rows else (),
            uncertainty=tuple(here.uncertainty_bins.reshape(CURVE_BINS, -1).sum(axis=1).tolist()),
            mean_tokens=_mean_tokens(here),
            called=dict(zip(stats.names, here.called.tolist(), strict=True)),
        )
        for exit_layer, here in stats.exits.items()
    )


def _mean_tokens(here: ExitLayerStats) -> float | None:
    lengths = np.arange(len(here.tokens))
    return float((lengths * here.tokens).sum() / here.rows) if here.rows else None


def _lengths(stats: ExitStats) -> tuple[LengthBin, ...]:
    tokens = np.sum([each.tokens for each in stats.exits.values()], axis=0)
    present = np.flatnonzero(tokens)
    if not len(present):
        return ()
    first, last = int(present[0]), int(present[-1])
    width = -(-(last - first + 1) // _LENGTH_BINS)
    return tuple(
        LengthBin(first=start, last=start + width - 1, rows=int(tokens[start : start + width].sum()))
        for start in range(first, last + 1, width)
    )
