"""How sure rows were where they left."""

from jobs.report.audit_figures import (
    agreement_figure,
    luha_figure,
    speeds_figures,
    uncertainty_figure,
    uncertainty_histogram,
)
from jobs.report.content import Block, Note, Section, figures_of
from pipeline.contract.manifest import ScoreManifest
from pipeline.results.audit.report import AuditReport


def sureness_section(report: AuditReport, manifest: ScoreManifest) -> Section:
    """Return the job's uncertainty, and what that of the calibration's test rows says of it."""
    return Section(title="How sure they were", blocks=_sureness(report, manifest))


def _sureness(report: AuditReport, manifest: ScoreManifest) -> tuple[Block, ...]:
    exponent = manifest.settings.length_exponent
    blocks = figures_of(
        [
            uncertainty_figure(report.exits, length_exponent=exponent),
            uncertainty_histogram(report.exits),
            agreement_figure(report.agreement.by_uncertainty, by="uncertainty", promised=None),
            luha_figure(report.reference) if report.reference else None,
        ]
    )
    if report.reference is None:
        return (*blocks, Note(text="The policy was not calibrated: there are no calibration rows to show."))
    return (*blocks, *figures_of(speeds_figures(report.reference)))
