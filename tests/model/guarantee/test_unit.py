"""What a promise is of is what its test draws: promises of one thing are broken for another."""

import numpy as np
import pytest
from scipy.stats import binom

from model.guarantee.risk_constraint import RiskConstraint
from model.guarantee.risk_control import certify
from model.guarantee.threshold_search import SearchEffort
from tests.model.exit_populations import population

# Of the draws that are to break a promise nearly half do, at the least.
REDRAWS = 100
CONSTRAINT = RiskConstraint(max_disagreement=0.1)
SHORT_PATH = SearchEffort(num_coarse=6, num_fine=8, num_risks=8)
ALLOWED = binom.ppf(0.999, REDRAWS, 1 - CONSTRAINT.confidence)


def broken(everything, draw, shares):
    """How many of many calibrations break the promise, risks being taken by some shares of the rows."""
    rng, count = np.random.default_rng(3), 0
    for _ in range(REDRAWS):
        drawn = draw(rng)
        search, test = everything.take(drawn[::3]), everything.take(np.delete(drawn, np.s_[::3]))
        found = certify(search, test, CONSTRAINT, effort=SHORT_PATH)
        if found is not None:
            differs = everything.disagrees_at(everything.exits_taken(found.thresholds))
            count += np.average(differs, weights=shares) > CONSTRAINT.max_disagreement
    return count


@pytest.mark.no_cover
@pytest.mark.parametrize("is_by_group", [True, False])
def test_texts_of_a_group_are_one_draw(is_by_group):
    """Of 200 groups of 40 texts that are answered alike, one text of each, or all as if they were many."""
    everything = population("sensible")

    def draw(rng):
        groups = rng.integers(0, len(everything), 200)
        return groups if is_by_group else rng.permutation(np.repeat(groups, 40))

    count = broken(everything, draw, np.ones(len(everything)))
    assert count <= ALLOWED if is_by_group else count > 2 * ALLOWED


@pytest.mark.no_cover
@pytest.mark.parametrize("is_by_row", [True, False])
def test_rows_are_promised_by_drawing_rows(is_by_row):
    """What the first exit gets wrong is repeated most: more rows disagree than distinct texts."""
    everything = population("sensible")
    copies = np.where(everything.disagrees[:, 0], 5, 1)
    shares = copies / copies.sum()

    def draw(rng):
        return rng.choice(len(everything), 900, p=shares if is_by_row else None)

    count = broken(everything, draw, shares)
    assert count <= ALLOWED if is_by_row else count > 2 * ALLOWED
