"""How often a promise is broken, of all texts and of one corpus: thousands of calibrations of made-up exits.

    OMP_NUM_THREADS=1 python -m benchmarks.promise.run

Every redraw puts a population (populations.py) into random order, as hashes do. The first texts calibrate:
temperatures, uncertainties and thresholds are computed from these alone, by the code that calibrates a
FastBERT. Then come three corpora of other texts, and the policies' answers to all of them are looked at.
Fewer thresholds are tried than in a job, for time: what is certified has to hold for any of them. Half an
hour of one core. Writes `promise.parquet`; `make performance` makes the tables.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from benchmarks.promise.cases import CASES, SIX_PROMISES, Case
from benchmarks.promise.populations import Texts
from benchmarks.results import RESULTS, machine, replace_dataset
from benchmarks.terminal import say
from model.answers.uncertainty import normalised_entropy
from model.exits.policy import length_scales
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.exit_calibration import LENGTH_EXPONENT, ExitCalibration
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.finite_corpus import CorpusSize
from model.guarantee.threshold_search import SearchEffort
from pipeline.results.calibration_report import DISAGREEMENTS

CORPORA = (500, 1_000, 5_000)
CONFIDENCE = 0.95
EFFORT = SearchEffort(num_coarse=4, num_fine=4, num_risks=16, num_closed=0)
SIX_PROMISES_ROWS = 6_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--redraws", type=int, default=2_000)
    parser.add_argument("--only", default="", help="populations with this in their names")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the Parquet file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    environment = {
        **machine(threads=1, libraries=("numpy", "scipy", "torch")),
        "texts": len(CASES[0].texts),
        "confidence": CONFIDENCE,
        "corpora": CORPORA,
        "search_effort": vars(EFFORT),
        "six_promises": DISAGREEMENTS,
    }
    for number, case in enumerate(CASES):
        if args.only in case.name:
            row = simulate(case, number, args.redraws)
            replace_dataset(args.output / "promise.parquet", case.name, [row], environment)
    if args.only in SIX_PROMISES:
        row = simulate_six_promises(args.redraws)
        replace_dataset(args.output / "promise.parquet", SIX_PROMISES, [row], environment)


def simulate(case: Case, number: int, redraws: int) -> dict[str, object]:
    """Return one row: in how many redraws promises are broken, and the medians of what they save."""
    kinds = ("population", *(f"corpus_{size}" for size in CORPORA))
    outcomes = case.texts.calibrate().flops_outcomes
    counts = dict.fromkeys(("broken", "broken_of_rows", *(f"exceeded_{size}" for size in CORPORA)), 0)
    counts |= dict.fromkeys((f"{kind}_broken" for kind in kinds[1:]), 0)
    counts |= dict.fromkeys((f"{kind}_uncertified" for kind in kinds), 0)
    saved: dict[str, list[float]] = {f"{kind}_saved_compute": [] for kind in kinds}
    begun = time.monotonic()
    for redraw in range(redraws):
        order = np.random.default_rng([number, redraw]).permutation(len(case.texts))
        calibration = case.texts.take(order[: case.num_rows]).calibrate()
        policies = [make_policy(case, calibration, size) for size in (None, *CORPORA)]
        answered = answers(case.texts, calibration, policies, outcomes)
        of_population = answered[0].disagrees
        counts["broken"] += is_broken(case, of_population, np.arange(len(order)))
        counts["broken_of_rows"] += is_broken(case, of_population, np.arange(len(order)), case.texts.copies)
        first = case.num_rows
        for size, of_corpus in zip(CORPORA, answered[1:], strict=True):
            corpus, first = order[first : first + size], first + size
            counts[f"exceeded_{size}"] += is_broken(case, of_population, corpus)
            counts[f"corpus_{size}_broken"] += is_broken(case, of_corpus.disagrees, corpus)
        for kind, policy, answer in zip(kinds, policies, answered, strict=True):
            counts[f"{kind}_uncertified"] += not policy.is_certified
            saved[f"{kind}_saved_compute"].append(answer.saved_compute)
        tell(case.name, redraw, redraws, begun, counts)
    return {
        "dataset": case.name,
        "labels": case.num_labels,
        "labels_promised": [f"{share:g}" for share in case.max_missed.values()],
        "calibration_rows": case.num_rows,
        "test_rows": int((~calibration.is_search).sum()),
        "max_disagreement": case.share,
        "redraws": redraws,
        **counts,
        **{name: float(np.median(values)) for name, values in saved.items()},
        # A table's columns are those of its first row.
        "each_broken": None,
    }


def make_policy(case: Case, calibration: ExitCalibration, size: int | None) -> CalibratedPolicy:
    return calibration.policy(
        max_disagreement=case.share,
        max_missed=case.max_missed_by_name,
        confidence=CONFIDENCE,
        corpus=None if size is None else CorpusSize(num_units=size),
        effort=EFFORT,
    )


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a policy does to a whole population: (texts,) which answers disagree, and what is saved."""

    disagrees: np.ndarray
    saved_compute: float


def answers(
    texts: Texts,
    calibration: ExitCalibration,
    policies: Sequence[CalibratedPolicy],
    outcomes: ExitOutcomes,
) -> list[Answered]:
    """Let all texts leave as policies say; uncertainties are computed where a policy has not yet answered.

    Args:
        texts: all of the population.
        calibration: gives the scalings.
        policies: of this calibration.
        outcomes: of the population; its uncertainties, of other temperatures, are not used.
    """
    thresholds = np.array([(each.lexical_threshold, *each.thresholds) for each in policies], dtype=np.float32)
    scales = length_scales(texts.num_tokens, LENGTH_EXPONENT)
    exits = np.full((len(policies), len(texts)), len(calibration.scalings))
    stays = np.ones(exits.shape, dtype=np.bool_)
    for place, scaling in enumerate(calibration.scalings):
        rows = np.flatnonzero(stays[thresholds[:, place] > 0].any(axis=0))
        logits = torch.from_numpy(texts.logits[rows, place]) / scaling.temperature
        uncertainty = np.full(len(texts), np.inf, dtype=np.float32)
        uncertainty[rows] = normalised_entropy(logits).numpy() / scales[rows]
        leaves = stays & (uncertainty < thresholds[:, place, None])
        exits[leaves] = place
        stays &= ~leaves
    full_depth = outcomes.exit_cost[:, -1].sum()
    return [
        Answered(
            disagrees=outcomes.disagrees_at(taken),
            saved_compute=float(full_depth / outcomes.cost_at(taken, of_policy).sum()),
        )
        for taken, of_policy in zip(exits, thresholds, strict=True)
    ]


def is_broken(case: Case, disagrees: np.ndarray, rows: np.ndarray, copies: np.ndarray | None = None) -> bool:
    """Whether more of some texts disagree than was promised, or more of a label's.

    Args:
        case: says what was promised.
        disagrees: (texts,) of the population.
        rows: numbers of the texts to look at.
        copies: (texts,) how often each of them counts; None for once.
    """
    labels = case.texts.teacher_labels[rows]
    weights = np.ones(len(rows), dtype=np.int64) if copies is None else copies[rows]
    differs = disagrees[rows]
    parts = [(np.ones(len(rows), dtype=np.bool_), case.share)]
    parts += [(labels == label, share) for label, share in case.max_missed.items()]
    for part, share in parts:
        allowed = math.floor(Fraction(str(share)) * int(weights[part].sum()))
        if int(weights[part & differs].sum()) > allowed:
            return True
    return False


def simulate_six_promises(redraws: int) -> dict[str, object]:
    """Return one row: in how many redraws each of six promises is broken, and any of them."""
    cases = [replace(CASES[0], share=share) for share in DISAGREEMENTS]
    texts, outcomes = CASES[0].texts, CASES[0].texts.calibrate().flops_outcomes
    broken, everything = np.zeros((redraws, len(cases)), dtype=np.bool_), np.arange(len(texts))
    begun = time.monotonic()
    for redraw in range(redraws):
        order = np.random.default_rng([len(CASES), redraw]).permutation(len(texts))
        calibration = texts.take(order[:SIX_PROMISES_ROWS]).calibrate()
        policies = [make_policy(case, calibration, None) for case in cases]
        answered = answers(texts, calibration, policies, outcomes)
        for place, (case, answer) in enumerate(zip(cases, answered, strict=True)):
            broken[redraw, place] = is_broken(case, answer.disagrees, everything)
        tell(SIX_PROMISES, redraw, redraws, begun, {"broken": int(broken.any(axis=1).sum())})
    return {
        "dataset": SIX_PROMISES,
        "labels": CASES[0].num_labels,
        "calibration_rows": SIX_PROMISES_ROWS,
        "redraws": redraws,
        "broken": int(broken.any(axis=1).sum()),
        "each_broken": broken.sum(axis=0).tolist(),
    }


def tell(name: str, redraw: int, redraws: int, begun: float, counts: Mapping[str, int]) -> None:
    if (redraw + 1) % 250 == 0 or redraw + 1 == redraws:
        found = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        say(f"{name}: {redraw + 1:,} redraws, {time.monotonic() - begun:.0f} s: {found}")


if __name__ == "__main__":
    main()
