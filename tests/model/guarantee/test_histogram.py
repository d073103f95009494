import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.guarantee.histogram import Histogram, bins_of, quantile_edges

VALUES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 9))


@given(VALUES, st.integers(2, 8))
def test_every_value_is_counted_once_between_its_edges(values: np.ndarray, num_bins: int):
    edges = quantile_edges(values, num_bins)
    assert list(edges) == sorted(set(edges))
    assert len(edges) < num_bins
    histogram = Histogram.of(values, edges)
    assert histogram.total == len(values)
    for place, count in enumerate(histogram.counts):
        low = edges[place - 1] if place else -np.inf
        high = edges[place] if place < len(edges) else np.inf
        assert count == ((values >= low) & (values < high)).sum()


@given(VALUES, st.integers(2, 8))
def test_no_bin_of_quantiles_is_empty(values: np.ndarray, num_bins: int):
    assert min(Histogram.of(values, quantile_edges(values, num_bins)).counts) > 0


def test_places_are_bins():
    places = np.array([0, 3, 3, 1])
    assert Histogram.of_places(places, 4).counts == (1, 1, 0, 2)
    assert bins_of(places, Histogram.of_places(places, 4).edges).tolist() == places.tolist()
