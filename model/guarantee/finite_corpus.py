"""What the risk has to be for a share to be kept in one corpus, and not only over all texts like it.

The share of disagreements in a corpus of `m` distinct texts scatters around the risk: their number is
Binomial(m, risk) where the texts are draws of the same pile as the calibration's. So what is promised of a
corpus is tested as a smaller risk, at a higher confidence, and the two chances to fail are added.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from scipy.special import betaincinv
from scipy.stats import binom

from model.errors import ParameterError
from model.guarantee.binomial import upper_bound
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.risk_constraint import RiskConstraint
from model.guarantee.unit import Unit

# Of the chance to fail, what is left to the scatter: at 95 %, 1 of 5 %, and the risk is tested at 96 %.
SCATTER_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class CorpusSize:
    """How many distinct texts a corpus has, or how many rows.

    Attributes:
        num_units: that were counted.
        is_complete: whether these are all of them; else there may be any number more.
        unit: what was counted.
    """

    num_units: int
    is_complete: bool = True
    unit: Unit = Unit.TEXTS

    def __str__(self) -> str:
        return f"{'' if self.is_complete else 'at least '}{self.num_units:,} {self.unit.counted}"


@dataclass(frozen=True, kw_only=True)
class CorpusTest:
    """What is tested for a promise of one corpus.

    Attributes:
        size: of the corpus.
        max_risk: tested in place of the share that was asked for.
        max_label_risks: pairs of the number of a name and what is tested in place of the share of the texts
            called so that may be missed.
        confidence: of the test, in place of the one that was asked for.
    """

    size: CorpusSize
    max_risk: float
    max_label_risks: tuple[tuple[int, float], ...]
    confidence: float

    @property
    def constraint(self) -> RiskConstraint:
        """What the thresholds have to keep."""
        return RiskConstraint(
            max_disagreement=self.max_risk, max_missed=dict(self.max_label_risks), confidence=self.confidence
        )


def corpus_test(constraint: RiskConstraint, size: CorpusSize, test: ExitOutcomes) -> CorpusTest:
    """Return what to test so that a constraint is kept by the shares of one corpus.

    Each part of the constraint has an equal part in the chance that is left to the scatter. How many texts
    the teacher will give a label is not known before: that these are fewer than is reckoned with, from the
    label's share among calibration rows, has half of the chance of the label's part.

    Args:
        constraint: what the shares of the corpus have to keep.
        size: of the corpus.
        test: calibration rows.

    Raises:
        ParameterError: if the corpus is so small that not one of its answers might disagree, or a part is
            about the texts that the job calls something.
    """
    if constraint.max_false:
        raise ParameterError(
            "`max_false` is promised of all texts like the calibration's: say `promise` population"
        )
    if size.is_complete and size.num_units and not _allowed_errors(constraint.max_disagreement, size):
        # Of a single text every share below 1 is less than it.
        enough = "" if size.num_units == 1 else f"{_round_up(1 / size.num_units):g} or more, for "
        raise ParameterError(
            f"`max_disagreement` {constraint.max_disagreement:g} of {size} is less than one of them, so that "
            f"no text could leave early: ask for {enough}`promise` population, or for `speed` 0, which is "
            "full depth"
        )
    chance = (1 - constraint.confidence) * SCATTER_SHARE
    chance_of_part = chance / (1 + len(constraint.max_missed))
    label_risks = []
    for label, share in constraint.max_missed.items():
        num_of_label = int(test.calls[label].by_teacher.sum())
        of_label = texts_of_label(size, num_of_label, len(test), chance=chance_of_part / 2)
        label_risks.append((label, largest_risk(share, of_label, chance=chance_of_part / 2)))
    return CorpusTest(
        size=size,
        max_risk=largest_risk(constraint.max_disagreement, size, chance=chance_of_part),
        max_label_risks=tuple(label_risks),
        confidence=constraint.confidence + chance,
    )


def largest_risk(share: float, size: CorpusSize, *, chance: float) -> float:
    """Return the largest risk at which more than a share of a corpus disagrees by `chance` at most.

    Args:
        share: of the corpus, in (0, 1).
        size: of the corpus; where there may be more texts, what is returned holds for any number of them.
        chance: in (0, 1).

    >>> sizes = [CorpusSize(num_units=texts) for texts in (1_000, 20_000, 1_000_000)]
    >>> [round(largest_risk(0.01, size, chance=0.01), 4) for size in sizes]
    [0.0048, 0.0085, 0.0098]
    """
    allowed, num_units = _allowed_errors(share, size), size.num_units
    if size.is_complete and not num_units:
        # Of nothing no share is wrong.
        return share
    if not size.is_complete:
        # The most texts of which no more are allowed: from the least favourable number on it gets easier.
        num_units = math.ceil((allowed + 1) / _exactly(share)) - 1
    # P(X > allowed) = I_risk(allowed + 1, num_units - allowed), X ~ Binomial(num_units, risk).
    return min(share, float(betaincinv(allowed + 1, num_units - allowed, chance)))


def texts_of_label(size: CorpusSize, num_of_label: int, num_rows: int, *, chance: float) -> CorpusSize:
    """Return a number of texts that a label has at least in a corpus, but for `chance`.

    Args:
        size: of the corpus.
        num_of_label: calibration rows that have the label.
        num_rows: calibration rows.
        chance: half of it for the label's share, from the rows, half for its number, from the share.
    """
    least_share = 1 - upper_bound(num_rows - num_of_label, num_rows, 1 - chance / 2)
    num_units = int(binom.ppf(chance / 2, size.num_units, least_share))
    # What binom says of an impossible share is -1.
    return CorpusSize(num_units=max(0, num_units), is_complete=False)


def _allowed_errors(share: float, size: CorpusSize) -> int:
    return math.floor(_exactly(share) * size.num_units)


def _exactly(share: float) -> Fraction:
    """Return the share as it is written: a hundredth of 100 is 1, whatever binary fractions make of it."""
    return Fraction(repr(float(share)))


def _round_up(share: float) -> float:
    """Return a share with two digits, no smaller."""
    scale = 10.0 ** (1 - math.floor(math.log10(share)))
    return math.ceil(share * scale) / scale
