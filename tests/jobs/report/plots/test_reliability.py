from jobs.report.plots.agreement_bins import AgreementBins
from jobs.report.plots.reliability import reliability
from tests.jobs.report.pages import texts


def test_what_is_compared_is_named():
    bins = AgreementBins.of([0.6, 0.7, 0.9], [True, False, True])
    plot = reliability({"before": bins, "temperature 1.50": bins}, lowest=0.5, description="d")
    assert {"before", "temperature 1.50", "confidence", "agreement", "50%", "100%"} <= texts(plot)


def test_no_row_is_a_plot_too():
    assert "confidence" in texts(reliability({"a": AgreementBins.of([], [])}, description="d"))
