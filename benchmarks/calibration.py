"""What a certificate leaves of the speed: ours against the paper's single threshold with hindsight.

    python benchmarks/calibration.py --model DIR --labels DIR > benchmarks/calibration.md

--labels is an output of label-teacher with a large --calibration-fraction, and --model the FastBERT distilled
from it. All exits are run once over the calibration split. Then it is parted again and again, at random, into
rows to calibrate with and fresh rows; what is told of the fresh rows was not known to the calibration.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from jobs.commands.calibrate import SPEED_UPS, CalibrateConfig, run
from jobs.terminal.speedup_plot import speed_plot
from model.guarantee.binomial import p_value
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.risk_control import Promise, certified
from model.guarantee.target_speedup import highest_speed_up, thresholds_for
from model.guarantee.threshold_search import candidate_path
from model.network.uncertainty import normalised_entropy
from pipeline.results.calibration import Calibration

SHARES = (0.002, 0.005, 0.01, 0.02, 0.05)
CONFIDENCE = 0.95
# The paper's thresholds that are looked at; the first is full depth.
SPEEDS = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 500)]).astype(np.float32).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--model", "--labels"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a calibration")
    parser.add_argument("--redraws", type=int, default=40)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--plot", type=Path, default=Path(__file__).with_name("calibration.png"))
    args = parser.parse_args()
    calibration = calibrate(args)
    rows = len(calibration.rows)
    print(
        f"# What the guarantee costs\n\n{rows:,} distinct texts that training never saw, "
        f"{len(calibration.labels)} labels, {calibration.num_layers} layers, "
        f"{calibration.execution['precision']}. {args.redraws} times parted at random into {args.rows:,} to "
        f"calibrate with (half to search, half to test) and {rows - args.rows:,} fresh ones; medians. "
        "Speed-up is saved compute on the fresh rows: real lengths, attention and branches counted.\n"
    )
    promises(calibration, args)
    targets(calibration, args)


def calibrate(args: argparse.Namespace) -> Calibration:
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(io.StringIO()):
        return run(
            CalibrateConfig(
                model=str(args.model), labels=str(args.labels), output=home, rows=10**9,
                precision=args.precision,
            )
        )  # fmt: skip


def partings(rows: int, args: argparse.Namespace) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Search, test and fresh rows of each redraw."""
    found = []
    for seed in range(args.redraws):
        order = np.random.default_rng(seed).permutation(rows)
        half = args.rows // 2
        found.append((order[:half], order[half : args.rows], order[args.rows :]))
    return found


def promises(calibration: Calibration, args: argparse.Namespace) -> None:
    ours, paper = calibration.by_flops, plain(calibration)
    print(
        f"| at most | certified at {CONFIDENCE:.0%}: speed-up | differ on fresh rows | certificates broken "
        "| the paper's threshold, as many differing | the paper's threshold, certified alike "
        "| the paper's threshold, chosen on the fresh rows | certified / that "
        "| per-layer thresholds, chosen on the fresh rows |\n|" + "---|" * 9
    )
    redraws = [
        (search, test, fresh, singles(paper.take(np.append(search, test))), singles(paper.take(fresh)))
        for search, test, fresh in partings(len(ours), args)
    ]
    for share in SHARES:
        promise = Promise(max_disagreement=share, confidence=CONFIDENCE)
        table = []
        for search, test, fresh, before, after in redraws:
            found = certified(calibration.by_time.take(search), calibration.by_time.take(test), promise)
            thresholds = np.zeros(ours.num_layers - 1) if found is None else found.thresholds
            rows = ours.take(fresh)
            wrong, speed = rows.is_wrong_at(rows.exits(thresholds)).mean(), rows.speed_up(thresholds)
            hindsight = after[last(after, lambda wrong, share=share: wrong <= share)]
            passes = partial(is_certified, share=share, num_rows=args.rows)
            alike = after[last(before, passes)]
            path = candidate_path(rows, focus=(0.5 * share, 1.1 * share))
            limit = max((rows.speed_up(each.thresholds) for each in path if each.risk <= share), default=1.0)
            equal = after[last(after, lambda other, wrong=wrong: other <= wrong)]
            table.append(
                (speed, wrong, wrong > share, equal[1], alike[1], hindsight[1], speed / hindsight[1], limit)
            )
        speed, wrong, _, equal, alike, hindsight, ratio, limit = np.median(
            np.array(table, dtype=float), axis=0
        )
        broken = sum(each[2] for each in table)
        print(
            f"| {share:.1%} | **{speed:.2f}x** | {wrong:.2%} | {broken} of {len(table)} | {equal:.2f}x "
            f"| {alike:.2f}x | {hindsight:.2f}x | **{ratio:.1%}** | {limit:.2f}x |",
            flush=True,
        )


def is_certified(wrong: float, *, share: float, num_rows: int) -> bool:
    return p_value(round(wrong * num_rows), num_rows, share) <= 1 - CONFIDENCE


def plain(calibration: Calibration) -> ExitOutcomes:
    """The paper's uncertainty, without temperatures."""
    logits = torch.from_numpy(calibration.rows.logits[:, :-1])
    return replace(calibration.by_flops, uncertainty=normalised_entropy(logits).numpy())


def singles(outcomes: ExitOutcomes) -> list[tuple[float, float]]:
    """Wrong answers and speed-up of the same threshold for all layers, at each of SPEEDS."""
    found = []
    for speed in SPEEDS:
        thresholds = [speed] * (outcomes.num_layers - 1)
        wrong = outcomes.is_wrong_at(outcomes.exits(thresholds)).mean()
        found.append((float(wrong), outcomes.speed_up(thresholds)))
    return found


def last(path: list[tuple[float, float]], is_allowed: Callable[[float], bool]) -> int:
    """The place up to which everything is allowed."""
    refused = [place for place, (wrong, _) in enumerate(path) if not is_allowed(wrong)]
    return (refused[0] if refused else len(path)) - 1


def targets(calibration: Calibration, args: argparse.Namespace) -> None:
    outcomes = calibration.by_flops
    asked = [target for target in SPEED_UPS if target <= highest_speed_up(outcomes)]
    found: dict[float, list[float]] = {target: [] for target in asked}
    for search, test, fresh in partings(len(outcomes), args):
        rows = outcomes.take(np.append(search, test))
        for target in asked:
            thresholds = thresholds_for(target, outcomes.take(search), rows)
            found[target].append(outcomes.take(fresh).speed_up(thresholds))
    print("\n| --target-speedup | on fresh rows | furthest off |\n|---|---|---|")
    for target, speeds in found.items():
        off = max(abs(speed / target - 1) for speed in speeds)
        print(f"| {target:g}x | {np.median(speeds):.2f}x | {off:.1%} |")
    curve = [(target, float(np.median(speeds))) for target, speeds in found.items()]
    args.plot.write_bytes(speed_plot(curve))
    print(f"\n![saved compute, asked for and found]({args.plot.name})")


if __name__ == "__main__":
    main()
