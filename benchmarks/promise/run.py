"""How often a promise is broken: thousands of calibrations, through the real search and test.

    python -m benchmarks.promise.run

Calibration rows are redrawn from 40,000 texts whose every exit's answer is known (`populations.py`); the
search is on a third of them, on shorter paths than in a job. For each redraw the promise of all texts is held
against the population and against corpora of new texts, and so is the promise of the corpus. Then what a
promise is of: with a tenth of the texts making most of the rows, of texts and of rows; with groups of texts
that are answered alike, by texts and by groups; and how often `audit` cries of a promise that was kept.
Writes Parquet files; `make performance` makes the tables. On one core some twenty minutes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.promise.populations import POPULATIONS, SHARE, population
from benchmarks.results import RESULTS, machine, write_rows
from benchmarks.terminal import say
from model.guarantee.binomial import p_value
from model.guarantee.exit_calibration import search_rows
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.finite_corpus import CorpusSize, corpus_test
from model.guarantee.risk_control import RiskConstraint, certify
from model.guarantee.threshold_search import SearchEffort

CORPORA = (1_000, 5_000, 20_000)
EFFORT = SearchEffort(num_coarse=6, num_fine=10, num_risks=10)
# What audit takes for a contradiction.
ALARM = 0.001
# The labels whose own share is promised too, and that share.
JOINT = {1: 0.08, 3: 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--redraws", type=int, default=2000)
    parser.add_argument("--calibration-rows", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    environment = {
        **machine(threads=1, libraries=("numpy", "scipy")),
        "redraws": args.redraws,
        "calibration_rows": args.calibration_rows,
        "share": SHARE,
        "corpora": CORPORA,
    }
    rows = [corpora(name, {}, args) for name in POPULATIONS]
    rows += [corpora("heavy tails", JOINT, args), corpora("surer when wrong", JOINT, args)]
    write_rows(args.output / "promise_corpus.parquet", rows, environment)
    rows = [by_rows(args), by_groups(args), alarm(args)]
    write_rows(args.output / "promise_unit.parquet", rows, environment)


def thresholds_of(drawn: ExitOutcomes, constraint: RiskConstraint, size: int | None = None) -> np.ndarray:
    """Return what a calibration on these rows gives: of one corpus, or of all texts like these."""
    is_search = search_rows(np.zeros(len(drawn), dtype=np.bool_))
    search, test = drawn.take(is_search), drawn.take(~is_search)
    if size is not None:
        constraint = corpus_test(constraint, CorpusSize(num_units=size), test.teacher_labels).constraint
    found = certify(search, test, constraint, effort=EFFORT)
    return np.zeros(drawn.num_exits - 1, dtype=np.float32) if found is None else found.thresholds


def is_broken(rows: ExitOutcomes, thresholds: np.ndarray, constraint: RiskConstraint) -> bool:
    differs = rows.disagrees_at(rows.exits_taken(thresholds))
    parts = [(differs, constraint.max_disagreement)]
    parts += [
        (differs[rows.teacher_labels == label], share) for label, share in constraint.max_missed.items()
    ]
    return any(part.mean() > share for part, share in parts if len(part))


def corpora(name: str, max_missed: dict[int, float], args: argparse.Namespace) -> dict[str, object]:
    """Return in how many redraws either promise is broken, in the population and in corpora of new texts."""
    everything, rng = population(name), np.random.default_rng(1)
    constraint = RiskConstraint(max_disagreement=SHARE, max_missed=max_missed)
    broken = {"population": 0, **{f"{kind} {size}": 0 for kind in ("all", "corpus") for size in CORPORA}}
    saved: dict[str, list[float]] = {"all": [], **{f"corpus {size}": [] for size in CORPORA}}
    for _ in range(args.redraws):
        drawn = everything.take(rng.integers(0, len(everything), args.calibration_rows))
        of_all = thresholds_of(drawn, constraint)
        broken["population"] += is_broken(everything, of_all, constraint)
        saved["all"].append(everything.saved_compute(of_all))
        for size in CORPORA:
            texts = everything.take(rng.integers(0, len(everything), size))
            of_corpus = thresholds_of(drawn, constraint, size)
            broken[f"all {size}"] += is_broken(texts, of_all, constraint)
            broken[f"corpus {size}"] += is_broken(texts, of_corpus, constraint)
            saved[f"corpus {size}"].append(everything.saved_compute(of_corpus))
    row = {
        "population": name,
        "labels_promised": len(max_missed),
        "broken": broken["population"],
        "broken_of_all": [broken[f"all {size}"] for size in CORPORA],
        "broken_of_corpus": [broken[f"corpus {size}"] for size in CORPORA],
        "saved_of_all": float(np.median(saved["all"])),
        "saved_of_corpus": [float(np.median(saved[f"corpus {size}"])) for size in CORPORA],
    }
    say(str(row))
    return row


def by_rows(args: argparse.Namespace) -> dict[str, object]:
    """A tenth of the texts makes most of the rows, and the first exits are oftener wrong about these."""
    everything, rng = population("surer when wrong"), np.random.default_rng(2)
    copies = np.where(everything.disagrees[:, 0], 12, 1) + rng.zipf(2.2, len(everything)).clip(max=500)
    shares = copies / copies.sum()

    def broken(thresholds: np.ndarray) -> bool:
        return bool(everything.disagrees_at(everything.exits_taken(thresholds)) @ shares > SHARE)

    return counted(
        "a promise of rows, drawn by texts and by rows",
        lambda: rng.integers(0, len(everything), args.calibration_rows),
        lambda: rng.choice(len(everything), args.calibration_rows, p=shares),
        everything,
        broken,
        args,
    )


def by_groups(args: argparse.Namespace) -> dict[str, object]:
    """New groups of 20 texts that are answered alike, calibrated with texts of some 400 groups."""
    everything, rng = population("surer when wrong"), np.random.default_rng(3)

    def broken(thresholds: np.ndarray) -> bool:
        return bool(everything.disagrees_at(everything.exits_taken(thresholds)).mean() > SHARE)

    return counted(
        "a promise of new groups, drawn by texts and by groups",
        lambda: rng.permutation(np.repeat(rng.integers(0, len(everything), 400), 20)),
        lambda: rng.integers(0, len(everything), 400),
        everything,
        broken,
        args,
    )


def counted(
    name: str,
    draw_otherwise: Callable[[], np.ndarray],
    draw: Callable[[], np.ndarray],
    everything: ExitOutcomes,
    broken: Callable[[np.ndarray], bool],
    args: argparse.Namespace,
) -> dict[str, object]:
    """Return in how many redraws a promise is broken that was drawn otherwise, and as it is meant."""
    constraint = RiskConstraint(max_disagreement=SHARE)
    counts = [
        sum(broken(thresholds_of(everything.take(each()), constraint)) for _ in range(args.redraws))
        for each in (draw_otherwise, draw)
    ]
    row = {"what": name, "otherwise": counts[0], "as_meant": counts[1]}
    say(str(row))
    return row


def alarm(args: argparse.Namespace) -> dict[str, object]:
    """Return how often audit cries of a risk of 0.7 of what is allowed, by rows and by texts.

    A shadow sample of 1,000 texts, of which some stand in very many rows.
    """
    rng = np.random.default_rng(4)
    counts = [0, 0]
    for _ in range(args.redraws):
        differs = rng.random(1000) < 0.7 * SHARE
        copies = rng.zipf(2.0, 1000).clip(max=1000)
        for place, times in enumerate((copies, np.ones_like(copies))):
            wrong = int(differs @ times)
            counts[place] += bool(wrong) and 1 - p_value(wrong - 1, int(times.sum()), SHARE) < ALARM
    row = {"what": "audit's alarm at a kept promise, by rows and by texts", "otherwise": counts[0]}
    say(str(row | {"as_meant": counts[1]}))
    return row | {"as_meant": counts[1]}


if __name__ == "__main__":
    main()
