"""Whether the texts are like the calibration's."""

from jobs.report.audit_figures import drift_figure
from jobs.report.content import Block, Note, Section, Table, figures_of
from jobs.terminal.audit_summary import describe_drift
from model.guarantee.drift import Drift
from pipeline.contract.manifest import ScoreManifest
from pipeline.results.audit.report import AuditReport


def drift_section(report: AuditReport, manifest: ScoreManifest) -> Section:
    """Return how far the job's texts are from the calibration's, feature by feature."""
    return Section(title="Drift", blocks=_drift(report, manifest))


def _drift(report: AuditReport, manifest: ScoreManifest) -> tuple[Block, ...]:
    drift = report.drift
    if drift is None:
        why = "There is nothing to hold the texts against: "
        if manifest.certificate is None:
            return (Note(text=why + "the policy was not calibrated."),)
        return (Note(text=f"{why}the calibration counts {manifest.certificate.unit}, the sample does not."),)
    names = tuple(report.exits[0].called) if manifest.settings.answer.calls_one_label else ()
    table = Table(
        columns=("compared", "stability index", "p", "drifted"),
        rows=tuple(
            (each.feature, f"{each.index:.3f}", f"{each.p_value:.2g}", "yes" if each.is_drifted else "no")
            for each in drift.features
        ),
        caption=f"{drift.num_texts:,} sampled texts against the calibration's test rows",
        text_columns=(0, 3),
    )
    note = Note(
        text="The stability index is by how much two spreads differ: below 0.1 little, from 0.25 on much. p "
        "is how often texts that are alike differ by as much (chi-squared). Drifted is what differs by 0.1 "
        "or more, and not by chance."
    )
    told = Note(text=describe_drift(drift), is_warning=drift.verdict is Drift.DRIFTED)
    return (told, table, note, *figures_of(drift_figure(each, names) for each in drift.features))
