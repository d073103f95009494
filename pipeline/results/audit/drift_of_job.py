"""Whether a job's texts are like those that its policy was tested on."""

from model.guarantee.drift import DriftReport, compare
from model.guarantee.histogram import Histogram
from model.guarantee.policy_reference import AnsweredTexts, feature_bins
from pipeline.contract.manifest import ScoreManifest


def drift_of(manifest: ScoreManifest, texts: AnsweredTexts) -> DriftReport | None:
    """Hold a sample against the test rows; None where there are none, or counted by another unit.

    A sample and not all rows: its texts are drawn independently, and each counts once, as in a calibration.

    Args:
        manifest: of the job.
        texts: one of each unit of its sample.
    """
    certificate = manifest.certificate
    if certificate is None or certificate.unit is not manifest.settings.shadow_unit:
        return None
    reference = certificate.reference.histograms
    job = {
        feature: Histogram.of_places(bins, len(reference[feature].counts))
        for feature, bins in feature_bins(certificate.reference, texts).items()
    }
    return compare(reference, job, num_texts=len(texts))
