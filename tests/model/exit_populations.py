"""Populations of rows whose exits behave in known ways, for what is to hold whatever a model does."""

import numpy as np

from model.guarantee.exit_outcomes import ExitOutcomes

LAYERS = 4
NUM_LABELS = 4


def population(kind, num_rows=20_000, seed=0):
    """Return rows of which a draw is a corpus."""
    rng = np.random.default_rng(seed)
    teacher = rng.choice(NUM_LABELS, size=num_rows, p=[0.5, 0.3, 0.17, 0.03])
    difficulty = rng.random(num_rows)[:, None]
    depth = np.arange(1, LAYERS) / LAYERS
    noise = rng.random((num_rows, LAYERS - 1))
    wrong, uncertainty = {
        # The harder the row and the earlier the exit, the likelier a wrong answer; exits know about it.
        "sensible": lambda: (noise < difficulty**2 * (1 - depth), 0.8 * difficulty + 0.2 * noise),
        # One answer in eight is wrong, and all are given as certain.
        "overconfident": lambda: (noise < 0.125, 0.01 * rng.random(noise.shape)),
        # Uncertainty says nothing.
        "useless": lambda: (noise < 0.5, rng.random(noise.shape)),
        "perfect": lambda: (np.zeros_like(noise, dtype=bool), rng.random(noise.shape)),
        "never agree": lambda: (np.ones_like(noise, dtype=bool), rng.random(noise.shape)),
    }[kind]()
    tokens = rng.integers(4, 60, size=num_rows)
    return ExitOutcomes(
        uncertainty=uncertainty.astype(np.float32),
        is_wrong=np.concatenate([wrong, np.zeros((num_rows, 1), dtype=bool)], axis=1),
        layer_cost=tokens[:, None] * np.arange(1.0, LAYERS + 1),
        branch_cost=0.07 * tokens,
        teacher_labels=teacher,
    )


KINDS = ("sensible", "overconfident", "useless", "perfect", "never agree")
