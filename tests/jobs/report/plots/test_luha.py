from jobs.report.plots.agreement_bins import AgreementBins
from jobs.report.plots.luha import luha
from tests.jobs.report.pages import texts


def test_an_exit_has_a_line_where_it_has_rows():
    bins = AgreementBins.of([0.1] * 50, [True] * 50)
    few = AgreementBins.of([0.1] * 3, [True] * 3)
    shown = texts(luha({"exit 1": bins, "exit 2": few, "exit 3": bins}, description="d"))
    assert {"exit 1", "exit 3", "uncertainty", "agreement with full depth"} <= shown
    assert "exit 2" not in shown
