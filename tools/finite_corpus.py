"""What a certificate says of a finite corpus: two tables of docs/guarantee.md, computed and not measured.

A certificate bounds the risk: the probability that an answer disagrees, over all texts like the
calibration's. The share of disagreements in one corpus of `m` texts scatters around the risk.
"""

import numpy as np
from scipy.stats import binom

from model.guarantee.finite_corpus import SCATTER_SHARE, CorpusSize, largest_risk

MAX_DISAGREEMENT = 0.01
CONFIDENCE = 0.95
TEST_ROWS = (2_000, 5_000, 10_000, 50_000)
CORPUS_ROWS = (500, 1_000, 5_000, 20_000)
TARGET_CORPUS_ROWS = (1_000, 5_000, 20_000, 100_000, 1_000_000)


def chance_above(num_test_rows: int, corpus_rows: int) -> float:
    """Return the chance that more than 1 % of a corpus' answers disagree, under a certificate for 1 %.

    The search is assumed to stop at the most disagreements that the test still allows. The risk is then
    spread normally around their share, with the standard deviation of a count.

    Args:
        num_test_rows: rows that the thresholds were tested on.
        corpus_rows: texts of the corpus.
    """
    most = int(binom.ppf(1 - CONFIDENCE, num_test_rows, MAX_DISAGREEMENT)) - 1
    offsets = np.linspace(-6, 6, 2401)
    weights = np.exp(-(offsets**2) / 2)
    risks = np.clip((most + offsets * np.sqrt(most)) / num_test_rows, 0, 1)
    above = binom.sf(np.floor(MAX_DISAGREEMENT * corpus_rows), corpus_rows, risks)
    return float(np.average(above, weights=weights))


def stricter_share(corpus_rows: int) -> float:
    """Return the risk that is tested for so that at most 1 % of a corpus disagree."""
    chance = (1 - CONFIDENCE) * SCATTER_SHARE
    return largest_risk(MAX_DISAGREEMENT, CorpusSize(num_units=corpus_rows), chance=chance)
