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
    told = {
        "asked for": savings.asked,
        "expected, from the calibration's test rows": savings.expected,
        "found, real lengths, attention and branches counted": savings.found,
        "found, the shadow sample at full depth counted too": savings.with_shadow,
        "found, by the paper's count (128 tokens, linear layers only)": savings.paper,
    }
    rows = tuple((name, format_ratio(ratio)) for name, ratio in told.items() if ratio is not None)
    table = Table(columns=("saved compute", "times full depth"), rows=rows)
    curve = manifest.certificate.speed_curve if manifest.certificate else ()
    return (table, *figures_of([speedup_figure(report, curve)]))
