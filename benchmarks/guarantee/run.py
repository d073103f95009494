"""What a certificate leaves of the saved compute: ours against the paper's single threshold with hindsight.

    python -m benchmarks.guarantee.run --model DIR --labels DIR --texts "SST-2 train"

--labels is an output of label-teacher with a large --calibration-fraction, and --model the FastBERT distilled
from it. All exits are run once over the calibration split. Then it is parted again and again, at random, into
rows to calibrate with and fresh rows; what is told of the fresh rows was not known to the calibration.
Writes two Parquet files; `make performance` makes the tables and the plot from them.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.results import RESULTS, machine, write_rows
from jobs.commands.calibrate import run
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.options import PrecisionName
from model.answers.uncertainty import normalised_entropy
from model.guarantee.binomial import p_value
from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.exit_outcomes import ExitOutcomes, Thresholds
from model.guarantee.risk_constraint import RiskConstraint
from model.guarantee.risk_control import certify
from model.guarantee.target_speedup import SpeedupPath, highest_saved_compute
from model.guarantee.threshold_search import candidate_path
from pipeline.results.calibration_report import SPEEDUPS

SHARES = (0.002, 0.005, 0.01, 0.02, 0.05)
CONFIDENCE = 0.95
# The paper's thresholds that are looked at; the first is full depth.
SPEEDS = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 500)]).astype(np.float32).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--model", "--labels"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--texts", required=True, help="what the labelled texts are, for the tables")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a calibration")
    parser.add_argument("--redraws", type=int, default=40)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the Parquet files")
    args = parser.parse_args()
    calibration = calibrate(str(args.model), (str(args.labels),), args.precision)
    num_unseen = int((~calibration.is_held_out).sum())
    environment = {
        **machine(threads=torch.get_num_threads(), libraries=("torch", "transformers")),
        "texts": args.texts,
        "distinct_texts": num_unseen,
        "held_out_texts": len(calibration) - num_unseen,
        "labels": len(calibration.labels),
        "layers": calibration.flops.num_layers,
        "precision": calibration.calibrated_for.precision,
        "redraws": args.redraws,
        "calibration_rows": args.rows,
        "test_rows": len(next(resamples(calibration.is_held_out, calibration_rows=args.rows, redraws=1))[1]),
        "fresh_rows": num_unseen - args.rows,
        "confidence": CONFIDENCE,
    }
    write_rows(args.output / "guarantee.parquet", disagreements(calibration, args), environment)
    write_rows(args.output / "target_speedup.parquet", targets(calibration, args), environment)


def calibrate(model: str, labels: tuple[str, ...], precision: PrecisionName) -> ExitCalibration:
    """Run all exits over the whole calibration split; nothing is left behind."""
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(io.StringIO()):
        config = CalibrateConfig(model=model, labels=labels, output=home, rows=10**9, precision=precision)
        return run(config).exits


def resamples(
    is_held_out: np.ndarray, *, calibration_rows: int, redraws: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield search, test and fresh rows of each redraw.

    Args:
        is_held_out: (rows,) those that training has looked at, which search in every redraw.
        calibration_rows: of the others, that search or test.
        redraws: how many.
    """
    held_out, others = np.flatnonzero(is_held_out), np.flatnonzero(~is_held_out)
    searching = int(search_rows(np.arange(len(held_out) + calibration_rows) < len(held_out)).sum())
    num_search = searching - len(held_out)
    for seed in range(redraws):
        order = np.random.default_rng(seed).permutation(others)
        search = np.concatenate([held_out, order[:num_search]])
        yield search, order[num_search:calibration_rows], order[calibration_rows:]


def disagreements(calibration: ExitCalibration, args: argparse.Namespace) -> list[dict[str, float]]:
    """Return one row per promised disagreement: medians over the redraws."""
    ours, paper = calibration.flops_outcomes, with_paper_uncertainty(calibration)
    latency = calibration.latency_outcomes
    full_depth = np.zeros(ours.num_exits - 1, dtype=np.float32)
    redraws = []
    for search, test, fresh in resamples(
        calibration.is_held_out, calibration_rows=args.rows, redraws=args.redraws
    ):
        unseen = np.append(search[~calibration.is_held_out[search]], test)
        thresholds = (single_thresholds(paper.take(rows)) for rows in (unseen, fresh))
        redraws.append((search, test, fresh, *thresholds))
    rows = []
    for share in SHARES:
        constraint = RiskConstraint(max_disagreement=share, confidence=CONFIDENCE)
        outcomes = []
        for search, test, fresh, before, after in redraws:
            fastest = certify(latency.take(search), latency.take(test), constraint)
            thresholds = full_depth if fastest is None else fastest.thresholds
            outcomes.append(
                compare(ours.take(fresh), thresholds, before, after, share=share, num_rows=args.rows)
            )
        medians = {name: float(np.median([each[name] for each in outcomes])) for name in outcomes[0]}
        broken = sum(each["disagreement"] > share for each in outcomes)
        rows.append(
            {"max_disagreement": share, **medians, "broken_certificates": broken, "redraws": len(outcomes)}
        )
        print(rows[-1], flush=True)
    return rows


def compare(
    fresh: ExitOutcomes,
    thresholds: Thresholds,
    before: list[tuple[float, float]],
    after: list[tuple[float, float]],
    *,
    share: float,
    num_rows: int,
) -> dict[str, float]:
    """Compare certified thresholds with others on fresh rows.

    Args:
        fresh: outcomes of the fresh rows.
        thresholds: certified ones.
        before: disagreement and saved compute of single thresholds on the calibration rows.
        after: the same on the fresh rows.
        share: the promised disagreement.
        num_rows: of the calibration.
    """
    disagreement = float(fresh.disagrees_at(fresh.exits_taken(thresholds)).mean())
    saved_compute = fresh.saved_compute(thresholds)
    _, hindsight = after[last_allowed(after, lambda other: other <= share)]
    passes = partial(is_certified, share=share, num_rows=num_rows)
    path = candidate_path(fresh, focus=(0.5 * share, 1.1 * share))
    allowed = (fresh.saved_compute(each.thresholds) for each in path if each.risk <= share)
    return {
        "saved_compute": saved_compute,
        "disagreement": disagreement,
        "paper_as_much_disagreement": after[last_allowed(after, lambda other: other <= disagreement)][1],
        "paper_certified": after[last_allowed(before, passes)][1],
        "paper_hindsight": hindsight,
        "ratio_to_paper_hindsight": saved_compute / hindsight,
        "per_layer_hindsight": max(allowed, default=1.0),
    }


def is_certified(disagreement: float, *, share: float, num_rows: int) -> bool:
    return p_value(round(disagreement * num_rows), num_rows, share) <= 1 - CONFIDENCE


def with_paper_uncertainty(calibration: ExitCalibration) -> ExitOutcomes:
    """The paper's uncertainty, without temperatures, and its exits, without a lexical branch."""
    logits = torch.from_numpy(calibration.logits[:, :-1])
    outcomes = replace(calibration.flops_outcomes, uncertainty=normalised_entropy(logits).numpy())
    return outcomes.without_first_exit() if 0 in calibration.exits else outcomes


def single_thresholds(outcomes: ExitOutcomes) -> list[tuple[float, float]]:
    """Disagreement and saved compute of the same threshold for all layers, at each of SPEEDS."""
    pairs = []
    for speed in SPEEDS:
        thresholds = [speed] * (outcomes.num_exits - 1)
        disagreement = outcomes.disagrees_at(outcomes.exits_taken(thresholds)).mean()
        pairs.append((float(disagreement), outcomes.saved_compute(thresholds)))
    return pairs


def last_allowed(path: list[tuple[float, float]], is_allowed: Callable[[float], bool]) -> int:
    """The index up to which everything is allowed."""
    refused = [index for index, (disagreement, _) in enumerate(path) if not is_allowed(disagreement)]
    return (refused[0] if refused else len(path)) - 1


def targets(calibration: ExitCalibration, args: argparse.Namespace) -> list[dict[str, float]]:
    """Return one row per saved compute that was asked for."""
    outcomes = calibration.flops_outcomes
    asked = [target for target in SPEEDUPS if target <= highest_saved_compute(outcomes)]
    measured: dict[float, list[float]] = {target: [] for target in asked}
    draws = resamples(calibration.is_held_out, calibration_rows=args.rows, redraws=args.redraws)
    for search, _, fresh in draws:
        rows = outcomes.take(search)
        path = SpeedupPath(rows)
        for target in asked:
            thresholds = path.thresholds_for(target, rows)
            measured[target].append(outcomes.take(fresh).saved_compute(thresholds))
    return [
        {
            "target_speedup": target,
            "saved_compute": float(np.median(speeds)),
            "largest_deviation": max(abs(speed / target - 1) for speed in speeds),
        }
        for target, speeds in measured.items()
    ]


if __name__ == "__main__":
    main()
