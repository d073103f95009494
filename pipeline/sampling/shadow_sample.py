"""What a job is audited by: a sample of its texts, and in it the shadow sample, answered at full depth too.

Both are drawn by the same part of the hash.
"""

import numpy as np

from model.checks import check_fraction
from model.cost.flops import PAPER_LENGTH, FlopsModel
from model.errors import ParameterError
from model.exits.policy import ExitPolicy
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.unit import Unit

# By default so many rows are drawn, and of a corpus that has fewer than these as many as it has ...
_FRACTION = 0.001
_LEAST_ROWS = 1000
# ... but never more than add this share to the job's compute.
_MOST_EXTRA_COMPUTE = 0.05
# Of the sample, which costs nothing: enough to tell other texts from those of the calibration.
_SAMPLED_ROWS = 5000
_SAMPLED_OF_UNKNOWN = 0.01


def default_shadow_fraction(num_rows: int | None, saved_compute: float) -> float:
    """Return which share of a corpus is answered at full depth too where nothing is said.

    Args:
        num_rows: of the corpus; None where it is not known.
        saved_compute: full depth's FLOPs over those to expect of the job.

    >>> [default_shadow_fraction(rows, 4.0) for rows in (None, 500, 100_000, 10_000_000)]
    [0.001, 0.01667, 0.01, 0.001]
    >>> default_shadow_fraction(100, 1.0), default_shadow_fraction(10_000_000, 201.0)
    (1.0, 0.00025)
    """
    wanted = _FRACTION if num_rows is None else max(_FRACTION, _LEAST_ROWS / max(num_rows, 1))
    # A shadow row takes what the job saves of it: all of full depth but what it has run through already.
    extra_of_all = max(saved_compute - 1.0, 0.0)
    affordable = _MOST_EXTRA_COMPUTE / extra_of_all if extra_of_all else 1.0
    return _rounded(min(wanted, affordable, 1.0))


def sample_fraction_of(shadow_fraction: float, num_rows: int | None) -> float:
    """Return which share of the texts a job tells the units of, so that each counts once in an audit.

    Args:
        shadow_fraction: share that is answered at full depth too.
        num_rows: of the corpus; None where it is not known.

    >>> [sample_fraction_of(0.001, rows) for rows in (None, 300, 20_000, 100_000_000)]
    [0.01, 1.0, 0.25, 0.001]
    """
    wanted = _SAMPLED_OF_UNKNOWN if num_rows is None else _SAMPLED_ROWS / max(num_rows, 1)
    return max(shadow_fraction, _rounded(min(1.0, wanted)))


def check_shadow_sample(fraction: float | None, num_shadow_rows: int | None, num_rows: int | None) -> None:
    """Refuse what no sample can be drawn by.

    Args:
        fraction: share of the texts, as it was asked for; None where it was not.
        num_shadow_rows: instead of it, about how many rows.
        num_rows: of the corpus; None where it is not known.

    Raises:
        ParameterError: if it is no share, both are given, or there are no rows to take a share of.
    """
    if fraction is not None:
        check_fraction("shadow_fraction", fraction)
    if num_shadow_rows is None:
        return
    if fraction is not None:
        raise ParameterError("give one of `shadow_fraction` and `shadow_rows`")
    if num_shadow_rows < 0:
        raise ParameterError(f"`shadow_rows` {num_shadow_rows}: must be at least 0")
    if num_rows is None:
        raise ParameterError(
            f"`shadow_rows` {num_shadow_rows}: how many rows compressed input holds is not known; give a "
            "`shadow_fraction`"
        )


def shadow_fraction_of(
    fraction: float | None, num_shadow_rows: int | None, *, num_rows: int | None, saved_compute: float
) -> float:
    """Return which share of the texts is answered at full depth too.

    Args:
        fraction: as `check_shadow_sample` takes it, which all of this was checked by.
        num_shadow_rows: likewise.
        num_rows: likewise.
        saved_compute: to expect, for the default.
    """
    if fraction is not None:
        return fraction
    if num_shadow_rows is None or num_rows is None:
        return default_shadow_fraction(num_rows, saved_compute)
    return _rounded(min(1.0, num_shadow_rows / max(num_rows, 1)))


def _rounded(fraction: float) -> float:
    """Return a share as it is told to users and stands in a job's description."""
    return float(f"{fraction:.4g}")


def expected_saved_compute(policy: ExitPolicy, flops: FlopsModel) -> float:
    """Return full depth's FLOPs over those to expect of a policy.

    Of one that was not calibrated nobody knows: what it would be if all texts left at its first exit.

    Args:
        policy: of the job.
        flops: of the model.
    """
    if isinstance(policy, CalibratedPolicy):
        return policy.saved_compute
    length = np.array([PAPER_LENGTH], dtype=np.int64)
    last = flops.num_layers
    first = next((place for place, runs in enumerate(policy.runs_branch) if runs), last)
    run = flops.with_exits(length, np.array([first], dtype=np.int16), policy)
    return float(flops.full_depth(length)[0] / run[0])


def shadow_unit(calibrated: Unit | None, group_column: str | None) -> Unit:
    """Return what the shadow sample is drawn by.

    Args:
        calibrated: what the policy was calibrated by; None for one that was not.
        group_column: says which rows belong together; None where nothing does.

    Raises:
        ParameterError: if there is a group column, and the policy was calibrated by rows.
    """
    if group_column is None:
        return Unit.ROWS if calibrated is Unit.ROWS else Unit.TEXTS
    if calibrated is Unit.ROWS:
        raise ParameterError(
            f"`group_column` {group_column} does not go with a calibration of rows, each of which counts: "
            "leave it out"
        )
    return Unit.GROUPS
