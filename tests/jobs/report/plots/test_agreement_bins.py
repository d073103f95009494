import numpy as np

from jobs.report.plots.agreement_bins import AgreementBins


def test_rows_are_binned_by_how_sure():
    bins = AgreementBins.of([0.05, 0.91, 0.95, 1.0], [False, True, True, False])
    np.testing.assert_allclose(bins.mean, [0.05, (0.91 + 0.95 + 1.0) / 3])
    np.testing.assert_allclose(bins.agreement, [0, 2 / 3])
    assert bins.num_rows.tolist() == [1, 3]


def test_what_is_not_known_is_in_no_bin():
    assert AgreementBins.of([np.nan, 0.3], [True, True]).num_rows.tolist() == [1]
    assert AgreementBins.of([], []).num_rows.tolist() == []


def test_bins_of_few_rows_may_be_left_out():
    bins = AgreementBins.of([0.05, 0.91, 0.95], [False, True, True]).at_least(2)
    assert (bins.places.tolist(), bins.num_rows.tolist(), bins.agreement.tolist()) == ([9], [2], [1.0])
