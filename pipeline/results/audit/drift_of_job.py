"""Whether a job's texts are like those that its policy was tested on."""

from model.guarantee.drift import DriftReport, compare
from model.guarantee.histogram import Histogram
from model.guarantee.policy_reference import AnsweredTexts, feature_bins
from pipeline.contract.manifest import ScoreManifest
from pipeline.results.shadow_texts import ShadowRows


def drift_of(manifest: ScoreManifest, rows: ShadowRows) -> DriftReport | None:
    """Hold the sample against the test rows; None where there are none, or counted by another unit.

    The sample and not all rows: its texts are drawn independently, and each counts once, as in a calibration.

    Args:
        manifest: of the job.
        rows: one text of each unit of its sample.
    """
    certificate, settings = manifest.certificate, manifest.settings
    if certificate is None or certificate.unit is not settings.shadow_unit:
        return None
    texts = AnsweredTexts(
        exit_layer=rows.exit_layer,
        uncertainty=rows.uncertainty,
        num_tokens=rows.num_tokens,
        num_unknown=rows.num_unknown,
        called=rows.called,
        one_holds=settings.answer.calls_one_label,
    )
    reference = certificate.reference.histograms
    job = {
        feature: Histogram.of_places(bins, len(reference[feature].counts))
        for feature, bins in feature_bins(certificate.reference, texts).items()
    }
    return compare(reference, job, num_texts=len(rows))
