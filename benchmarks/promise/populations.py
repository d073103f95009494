"""Texts whose every exit's answer is known, some of them made to break a promise."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from model.guarantee.exit_outcomes import ExitOutcomes

NUM_TEXTS = 40_000
NUM_EXITS = 6
SHARE = 0.05

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def heavy_tails(rng: np.random.Generator) -> tuple[Flags, Floats]:
    """Most texts are easy and a few are very hard; exits know about it."""
    difficulty = np.minimum(rng.pareto(1.5, NUM_TEXTS) / 4, 1)[:, None]
    return chance(rng, difficulty * (1 - depth())), difficulty * 0.8 + 0.2 * noise(rng)


def surer_when_wrong(rng: np.random.Generator) -> tuple[Flags, Floats]:
    """What is wrong is given as surer than what is right."""
    wrong = chance(rng, np.full((NUM_TEXTS, NUM_EXITS - 1), 0.2) * (1 - depth()))
    return wrong, np.where(wrong, 0.6, 1.0) * noise(rng)


def just_above(rng: np.random.Generator) -> tuple[Flags, Floats]:
    """Every exit is wrong a little oftener than is allowed, whatever its uncertainty."""
    return chance(rng, np.full((NUM_TEXTS, NUM_EXITS - 1), 1.04 * SHARE)), noise(rng)


def ties(rng: np.random.Generator) -> tuple[Flags, Floats]:
    """Uncertainty has ten values."""
    wrong, uncertainty = heavy_tails(rng)
    return wrong, np.ceil(uncertainty * 10) / 10


def cliff(rng: np.random.Generator) -> tuple[Flags, Floats]:
    """What is wrong is all equally uncertain: nothing of it leaves, or more than is allowed."""
    wrong = np.repeat(rng.random((NUM_TEXTS, 1)) < 1.05 * SHARE, NUM_EXITS - 1, axis=1)
    return wrong, np.where(wrong, 0.5, noise(rng))


POPULATIONS: dict[str, Callable[[np.random.Generator], tuple[Flags, Floats]]] = {
    "heavy tails": heavy_tails,
    "surer when wrong": surer_when_wrong,
    "wrong just above A": just_above,
    "ties": ties,
    "a cliff": cliff,
}


def population(name: str, num_labels: int = 5) -> ExitOutcomes:
    """Return all texts of a population; lengths and labels have heavy tails too."""
    rng = np.random.default_rng(list(POPULATIONS).index(name))
    wrong, uncertainty = POPULATIONS[name](rng)
    tokens = np.minimum(4 + rng.pareto(1.2, NUM_TEXTS) * 10, 512)
    shares = 1 / np.arange(1, num_labels + 1)
    return ExitOutcomes(
        uncertainty=uncertainty.astype(np.float32),
        disagrees=np.concatenate([wrong, np.zeros((NUM_TEXTS, 1), dtype=np.bool_)], axis=1),
        exit_cost=tokens[:, None] * np.array([0.01, *np.arange(1.0, NUM_EXITS)]),
        branch_cost=np.tile(0.06 * tokens[:, None], NUM_EXITS - 1),
        teacher_labels=rng.choice(num_labels, NUM_TEXTS, p=shares / shares.sum()),
    )


def depth() -> Floats:
    return np.arange(NUM_EXITS - 1) / NUM_EXITS


def noise(rng: np.random.Generator) -> Floats:
    return rng.random((NUM_TEXTS, NUM_EXITS - 1))


def chance(rng: np.random.Generator, probability: Floats) -> Flags:
    """Return what happens with a probability; a text that later exits get wrong, earlier ones do too."""
    return rng.random((NUM_TEXTS, 1)) < probability
