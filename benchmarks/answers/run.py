"""What every kind of answer saves at a promise, and how often the promise is broken.

    python -m benchmarks.answers.run --work WORK --only clickbait-score clickbait-side

WORK is what `prepare` left. All exits are run once over the calibration split. It is then parted again and
again into rows to calibrate with and fresh rows, which tell what is saved. And it is taken for a population
of which calibrations are drawn, with fewer thresholds than in a job, for time: that tells how often a promise
is broken. The data set's rows in the Parquet file are replaced; `make performance` makes the tables.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.answers.draws import Found, Fresh, calibrate_with, from_population, parted
from benchmarks.answers.kinds import PART_FACTOR, AnswerKind, kinds_of
from benchmarks.guarantee.run import CONFIDENCE
from benchmarks.promise.run import EFFORT
from benchmarks.results import RESULTS, machine, replace_dataset
from benchmarks.terminal import say, silently
from jobs.commands.calibrate import run as calibrate
from jobs.configs.calibrate import CalibrateConfig
from model.answers.task import Task
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.threshold_search import SearchEffort
from pipeline.results.soft_labels import SoftLabels

SHARES = (0.005, 0.01, 0.02, 0.05)
# At which promises are broken, or not, in many redraws.
CHECKED, CHECKED_ROWS = 0.02, 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--fresh", type=float, default=1 / 3, help="share of the rows that are fresh")
    parser.add_argument("--redraws", type=int, default=10, help="that tell what is saved")
    parser.add_argument("--calibrations", type=int, default=200, help="that tell what is broken")
    parser.add_argument("--output", type=Path, default=RESULTS / "answers.parquet")
    args = parser.parse_args()
    environment = {
        **machine(threads=torch.get_num_threads(), libraries=("torch", "transformers")),
        "precision": "fp32",
        "redraws": args.redraws,
        "calibrations": args.calibrations,
        "checked": CHECKED,
        "checked_rows": CHECKED_ROWS,
        "part_factor": PART_FACTOR,
        "search_effort": vars(EFFORT),
        "confidence": CONFIDENCE,
    }
    for name in args.only:
        replace_dataset(args.output, name, list(measure(name, args.work / name, args)), environment)


def measure(name: str, home: Path, args: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield one row per kind of answer."""
    exits = all_exits(home)
    for kind in kinds_of(exits):
        begun = time.monotonic()
        decided = exits.deciding(kind.rule)
        disagrees = decided.flops_outcomes.disagrees
        row: dict[str, object] = {
            "dataset": name,
            "task": exits.rule.task.value,
            "labels": len(exits.labels),
            "layers": exits.flops.num_layers,
            "train_rows": SoftLabels.open(str(home / "labels")).num_train_rows,
            "kind": kind.name,
            "agreement": (1 - disagrees[:, :-1].mean(axis=0)).tolist(),
            **saved(decided, kind, args),
            **broken(decided, kind, args),
        }
        say(f"{time.monotonic() - begun:.0f} s: {row}")
        yield row


def all_exits(home: Path) -> ExitCalibration:
    """Run all exits over the whole calibration split; what is decided is said later."""
    labels = SoftLabels.open(str(home / "labels"))
    decide = (">=0",) if labels.task is Task.SCORE else ()
    config = CalibrateConfig(
        model=str(home / "fastbert"), labels=(str(home / "labels"),), output=str(home / "calibration"),
        rows=10**9, precision="fp32", decide=decide,
    )  # fmt: skip
    return silently(lambda: calibrate(config)).exits


def saved(exits: ExitCalibration, kind: AnswerKind, args: argparse.Namespace) -> dict[str, object]:
    """Return medians over fresh rows for each of `SHARES`, and in how many redraws a promise is broken."""
    draws = parted(exits.is_held_out, fresh=args.fresh, redraws=args.redraws)
    found = [tried(exits, kind, draw, SHARES, SearchEffort()) for draw in draws]
    num_unseen = int((~exits.is_held_out).sum())
    by_share = list(zip(*found, strict=True))
    return {
        "shares": list(SHARES),
        "calibration_rows": num_unseen - int(args.fresh * num_unseen),
        "fresh_rows": int(args.fresh * num_unseen),
        "saved_compute": [float(np.median([each.saved_compute for each in redraws])) for redraws in by_share],
        "disagreement": [float(np.median([each.disagreement for each in redraws])) for redraws in by_share],
        "fresh_broken": [
            sum(each.breaks(share, PART_FACTOR) for each in redraws)
            for share, redraws in zip(SHARES, by_share, strict=True)
        ],
    }


def broken(exits: ExitCalibration, kind: AnswerKind, args: argparse.Namespace) -> dict[str, object]:
    """Return in how many calibrations of a population a promise is broken, and the mean that is spent."""
    draws = from_population(exits.is_held_out, calibration_rows=CHECKED_ROWS, redraws=args.calibrations)
    found = [tried(exits, kind, draw, (CHECKED,), EFFORT)[0] for draw in draws]
    return {
        "broken": sum(each.breaks(CHECKED, PART_FACTOR) for each in found),
        "spent": float(np.mean([each.disagreement for each in found])),
        "spent_parts": np.mean([each.parts for each in found], axis=0).tolist() if found[0].parts else [],
        "uncertified": sum(each.saved_compute <= 1 for each in found),
    }


def tried(
    exits: ExitCalibration,
    kind: AnswerKind,
    draw: tuple[np.ndarray, np.ndarray],
    shares: tuple[float, ...],
    effort: SearchEffort,
) -> list[Found]:
    """Return what the policies of one calibration do to fresh rows, for each share that is promised."""
    drawn = calibrate_with(exits, draw[0])
    fresh = Fresh(exits, drawn.scalings, draw[1])
    policies = (
        drawn.policy(
            max_disagreement=share,
            max_missed=kind.max_missed(share),
            max_false=kind.max_false(share),
            confidence=CONFIDENCE,
            effort=effort,
        )
        for share in shares
    )
    return [fresh.found(policy, kind) for policy in policies]


if __name__ == "__main__":
    main()
