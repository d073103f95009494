"""How often a promise is broken that was drawn by something else than it is of: thousands of calibrations.

    OMP_NUM_THREADS=1 python -m benchmarks.promise.units

Calibration rows are redrawn from 40,000 made-up texts whose every exit's answer is known, surer where it is
wrong, through the real search and test; the search is on a third of the rows, on shorter paths than in a
job. Also how often `audit` cries of a promise that is kept. Writes `promise_unit.parquet`; `make performance`
makes the table. Some ten minutes of one core.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.results import RESULTS, machine, write_rows
from benchmarks.terminal import say
from model.guarantee.binomial import p_value
from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.promise_check import CONTRADICTION_P
from model.guarantee.risk_constraint import RiskConstraint
from model.guarantee.risk_control import certify
from model.guarantee.threshold_search import SearchEffort

SHARE = 0.05
EFFORT = SearchEffort(num_coarse=6, num_fine=10, num_risks=10)
NUM_TEXTS, NUM_EXITS = 40_000, 6
NUM_GROUPS, GROUP_SIZE = 400, 20

Draw = Callable[[], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--redraws", type=int, default=2000)
    parser.add_argument("--calibration-rows", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=RESULTS / "promise_unit.parquet")
    args = parser.parse_args()
    environment = {
        **machine(threads=1, libraries=("numpy", "scipy")),
        "redraws": args.redraws,
        "calibration_rows": args.calibration_rows,
        "share": SHARE,
    }
    write_rows(args.output, [by_rows(args), by_groups(args), alarm(args)], environment)


def population() -> ExitOutcomes:
    """Return texts with heavy-tailed lengths, whose exits are surer where they are wrong."""
    rng = np.random.default_rng(0)
    depth = np.arange(NUM_EXITS - 1) / NUM_EXITS
    wrong = rng.random((NUM_TEXTS, 1)) < 0.2 * (1 - depth)
    uncertainty = np.where(wrong, 0.6, 1.0) * rng.random((NUM_TEXTS, NUM_EXITS - 1))
    tokens = np.minimum(4 + rng.pareto(1.2, NUM_TEXTS) * 10, 512)
    return ExitOutcomes(
        uncertainty=uncertainty.astype(np.float32),
        disagrees=np.concatenate([wrong, np.zeros((NUM_TEXTS, 1), dtype=np.bool_)], axis=1),
        exit_cost=tokens[:, None] * np.array([0.01, *np.arange(1.0, NUM_EXITS)]),
        branch_cost=np.tile(0.06 * tokens[:, None], NUM_EXITS - 1),
    )


def by_rows(args: argparse.Namespace) -> dict[str, object]:
    """What the first exits are wrong about stands in more rows than other texts; some in very many."""
    texts, rng = population(), np.random.default_rng(2)
    copies = np.where(texts.disagrees[:, 0], 12, 1) + rng.zipf(2.2, NUM_TEXTS).clip(max=500)
    shares = copies / copies.sum()
    return counted(
        "a promise of rows, some texts in very many: distinct texts drawn, rows drawn",
        lambda: rng.integers(0, NUM_TEXTS, args.calibration_rows),
        lambda: rng.choice(NUM_TEXTS, args.calibration_rows, p=shares),
        texts,
        shares,
        args,
    )


def by_groups(args: argparse.Namespace) -> dict[str, object]:
    """A promise of new groups of texts that are answered alike."""
    texts, rng = population(), np.random.default_rng(3)
    return counted(
        f"a promise of new groups, {GROUP_SIZE} texts of each answered alike: all texts of {NUM_GROUPS} "
        "drawn, one text of each",
        lambda: rng.permutation(np.repeat(rng.integers(0, NUM_TEXTS, NUM_GROUPS), GROUP_SIZE)),
        lambda: rng.integers(0, NUM_TEXTS, NUM_GROUPS),
        texts,
        np.full(NUM_TEXTS, 1 / NUM_TEXTS),
        args,
    )


def counted(
    what: str,
    otherwise: Draw,
    as_meant: Draw,
    texts: ExitOutcomes,
    shares: np.ndarray,
    args: argparse.Namespace,
) -> dict[str, object]:
    """Return in how many redraws a promise is broken, of texts that have some shares."""

    def is_broken(drawn: ExitOutcomes) -> bool:
        is_search = search_rows(np.zeros(len(drawn), dtype=np.bool_))
        constraint = RiskConstraint(max_disagreement=SHARE)
        found = certify(drawn.take(is_search), drawn.take(~is_search), constraint, effort=EFFORT)
        if found is None:
            return False
        return bool(texts.disagrees_at(texts.exits_taken(found.thresholds)) @ shares > SHARE)

    counts = [
        sum(is_broken(texts.take(draw())) for _ in range(args.redraws)) for draw in (otherwise, as_meant)
    ]
    row = {"what": what, "otherwise": counts[0], "as_meant": counts[1]}
    say(str(row))
    return row


def alarm(args: argparse.Namespace) -> dict[str, object]:
    """Return how often audit cries of a risk of 0.7 of the promise; 1,000 texts are its shadow sample."""
    rng, counts = np.random.default_rng(4), [0, 0]
    for _ in range(args.redraws):
        differs = rng.random(1000) < 0.7 * SHARE
        copies = rng.zipf(2.0, 1000).clip(max=1000)
        for place, times in enumerate((copies, np.ones_like(copies))):
            wrong = int(differs @ times)
            counts[place] += bool(wrong) and 1 - p_value(wrong - 1, int(times.sum()), SHARE) < CONTRADICTION_P
    row = {"what": "audit's alarm at a kept promise of texts: rows counted, texts counted"}
    say(str(row | {"otherwise": counts[0], "as_meant": counts[1]}))
    return row | {"otherwise": counts[0], "as_meant": counts[1]}


if __name__ == "__main__":
    main()
