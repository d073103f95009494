"""The page that `audit` leaves: whether the promise stands, and all that it was judged by."""

from jobs.report.audit.agreement import agreement_section
from jobs.report.audit.comparison import comparison_section
from jobs.report.audit.compute import compute_section
from jobs.report.audit.drift import drift_section
from jobs.report.audit.exits import exits_section
from jobs.report.audit.labelled import labelled_section
from jobs.report.audit.rows import examples_section, rejected_section
from jobs.report.audit.sureness import sureness_section
from jobs.report.audit.times import times_section
from jobs.report.audit.verdict import banner, key_figures
from jobs.report.content import Page, Section, Settings
from pipeline.contract.manifest import ScoreManifest
from pipeline.results.audit.comparison import Comparison
from pipeline.results.audit.report import AuditReport

AUDIT_PAGE_FILE = "audit.html"


def audit_page(report: AuditReport, manifest: ScoreManifest, comparison: Comparison | None = None) -> Page:
    """Return the page of a finished job.

    Args:
        report: all that is said of it.
        manifest: of the job.
        comparison: with another job; None for none.
    """
    sections = [
        exits_section(report),
        sureness_section(report, manifest),
        agreement_section(report),
        drift_section(report, manifest),
        compute_section(report, manifest),
        times_section(report.times),
        rejected_section(report),
        examples_section(report),
        Section(title="What was scored", blocks=(Settings(values=_settings(report)),)),
    ]
    if report.labelled:
        sections.insert(3, labelled_section(report.labelled))
    if comparison:
        sections.insert(0, comparison_section(report, comparison))
    return Page(
        title=f"Audit of {report.job.scores}",
        lead=f"{report.job.rows:,} rows scored with {report.job.model}: {report.job.policy}.",
        top=(banner(report), key_figures(report)),
        sections=tuple(sections),
    )


def _settings(report: AuditReport) -> dict[str, str]:
    job = report.job
    return {
        "scores": job.scores,
        "model": f"{job.model}, {job.num_layers} layers",
        "policy": job.policy,
        "compares": job.answers,
        "ran on": f"{job.device}, {job.precision}",
        "max length": f"{job.max_length} tokens, {job.truncated} of the rows were cut",
    }
