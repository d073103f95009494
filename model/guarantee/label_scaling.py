"""A temperature and a bias for each label of a set (Platt 1999), drawn towards one temperature for all."""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from model.answers.scaling import Scaling

# How far a label's own numbers are expected from a common temperature and no bias: standard deviations of the
# temperature's logarithm, and of the bias. Where a label is rare they hold it near these, and finite where it
# is never reached, or always.
_SPREADS = np.array([0.5, 1.0])
_MAX_STEPS, _MAX_HALVINGS = 50, 30
# Where all rows are far out and on the wrong side, a whole step leads to no number.
_LONGEST_STEP = 2.0
_EPSILON = 1e-6

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def fit_label_scaling(margins: Doubles, reached: Flags, *, common_temperature: float) -> Scaling:
    """Return the T and b of each label by which sigmoid(margin / T + b) is how likely it is reached.

    The likeliest ones (binary cross-entropy is least), where log T is expected around that of the common
    temperature and b around 0, both normal. A label of which nothing is to be learnt has just these.

    Args:
        margins: (rows, K) how far an exit has each label beyond its cut, in logits.
        reached: (rows, K) whether the full model is beyond it.
        common_temperature: at which all labels together are likeliest.
    """
    inputs, targets = (margins / common_temperature).T, reached.T
    # Of each label -log(T / common temperature), and b.
    weights = np.zeros((len(inputs), 2))
    losses = _losses(inputs, targets, weights)
    for _ in range(_MAX_STEPS):
        steps = _steps(inputs, targets, weights)
        if np.abs(steps).max(initial=0.0) < _EPSILON:
            break
        further = _losses(inputs, targets, weights + steps)
        for _ in range(_MAX_HALVINGS):
            # But for what rounding does where a label has arrived.
            worse = ~(further <= losses + _EPSILON)
            if not worse.any():
                break
            steps[worse] /= 2
            further = _losses(inputs, targets, weights + steps)
        weights, losses = weights + steps, further
    temperatures = common_temperature * np.exp(-weights[:, 0])
    return Scaling(temperatures=tuple(temperatures.tolist()), biases=tuple(weights[:, 1].tolist()))


def _odds(inputs: Doubles, weights: Doubles) -> Doubles:
    """Return the logarithm of the odds that each label is reached, (K, rows)."""
    slopes: Doubles = np.exp(weights[:, :1])
    return slopes * inputs + weights[:, 1:]


def _losses(inputs: Doubles, targets: Flags, weights: Doubles) -> Doubles:
    """Return how unlikely each label's rows and weights are, in nats, (K,)."""
    odds = _odds(inputs, weights)
    of_rows: Doubles = (np.logaddexp(0, odds) - targets * odds).sum(axis=1)
    of_weights: Doubles = ((weights / _SPREADS) ** 2 / 2).sum(axis=1)
    return of_rows + of_weights


def _steps(inputs: Doubles, targets: Flags, weights: Doubles) -> Doubles:
    """Return the steps of Fisher's scoring, (K, 2), along which every loss falls."""
    probability = expit(_odds(inputs, weights))
    # Derivatives of the odds: by a weight of an exponential, and of a sum.
    slopes = np.exp(weights[:, :1]) * inputs
    residual, spread = targets - probability, probability * (1 - probability)
    gradient = np.stack([(residual * slopes).sum(axis=1), residual.sum(axis=1)], axis=1)
    gradient -= weights / _SPREADS**2
    across = (spread * slopes).sum(axis=1)
    information = np.stack(
        [np.stack([(spread * slopes**2).sum(axis=1), across], 1), np.stack([across, spread.sum(axis=1)], 1)],
        axis=1,
    )
    steps = np.linalg.solve(information + np.diag(_SPREADS**-2.0), gradient[..., None])[..., 0]
    within: Doubles = np.clip(steps, -_LONGEST_STEP, _LONGEST_STEP)
    return within
