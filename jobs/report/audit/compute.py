"""What a job saved."""

from jobs.report.audit_figures import speedup_figure
from jobs.report.content import Block, Section, Table, figures_of
from model.messages import format_ratio
from pipeline.contract.manifest import ScoreManifest
from pipeline.results.audit.report import AuditReport


def compute_section(report: AuditReport, manifest: ScoreManifest) -> Section:
    """Return the saved compute: asked for, expected and found."""
    return Section(title="Compute", blocks=_compute(report, manifest))


def _compute(report: AuditReport, manifest: ScoreManifest) -> tuple[Block, ...]:
    savings = report.savings
    rows = [
        ("found, real lengths, attention and branches counted", format_ratio(savings.found)),
        ("found, by the paper's count (128 tokens, linear layers only)", format_ratio(savings.paper)),
    ]
    if savings.expected is not None:
        rows.insert(0, ("expected, from the calibration's test rows", format_ratio(savings.expected)))
    if savings.asked is not None:
        rows.insert(0, ("asked for", format_ratio(savings.asked)))
    table = Table(columns=("saved compute", "times full depth"), rows=tuple(rows))
    curve = manifest.certificate.speed_curve if manifest.certificate else ()
    return (table, *figures_of([speedup_figure(report, curve)]))
