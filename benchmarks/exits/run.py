"""How often branches agree with the teacher, and what they save at a promise, design against design.

    python -m benchmarks.exits.run --dataset "AG News" --labels DIR --model "pooling=DIR" --model "paper=DIR"

--labels is an output of label-teacher with a large --calibration-fraction by a teacher that was fine-tuned on
other rows, and each --model a FastBERT distilled from it, by this version or an earlier one. All exits are
run once over the calibration split, which is then parted again and again, at random, into rows to calibrate
with and fresh rows. A FastBERT with a lexical branch is told of twice: by its layers alone, as if exit 0 were
not there, and as it is. The data set's rows in the Parquet file are replaced; `make performance` makes the
table.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.guarantee.run import CONFIDENCE, SHARES, calibrate, resamples
from benchmarks.results import RESULTS, machine, replace_dataset
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.risk_constraint import RiskConstraint
from model.guarantee.risk_control import certify
from pipeline.results.soft_labels import SoftLabels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dataset", required=True, help="its name in the table")
    parser.add_argument("--labels", action="append", required=True, metavar="DIR")
    parser.add_argument("--model", action="append", required=True, metavar="NAME=DIR")
    add_redraws(parser)
    parser.add_argument("--output", type=Path, default=RESULTS / "exits.parquet")
    args = parser.parse_args()
    # The branches learnt from the first directory; more of them are for calibration alone.
    train_rows = SoftLabels.open(args.labels[0]).num_train_rows
    rows = []
    for name, _, directory in (given.partition("=") for given in args.model):
        exits = calibrate(directory, tuple(args.labels), args.precision)
        told = {
            "dataset": args.dataset,
            "labels": len(exits.labels),
            "layers": exits.flops.num_layers,
            "train_rows": train_rows,
        }
        seconds, flops, held_out = exits.latency_outcomes, exits.flops_outcomes, exits.is_held_out
        if 0 in exits.exits:
            layers = seconds.without_first_exit(), flops.without_first_exit()
            whole = [(f"{name}, exit 0", (seconds, flops), agreement(flops)[0])]
        else:
            layers, whole = (seconds, flops), []
        for model, outcomes, exit_0 in [(name, layers, None), *whole]:
            of_layers = {"agreement": agreement(layers[1]), "exit_0": exit_0}
            rows.append({**told, "model": model, **saved_compute(*outcomes, held_out, args), **of_layers})
            print(rows[-1], flush=True)
    replace_dataset(args.output, args.dataset, rows, environment(args))


def add_redraws(parser: argparse.ArgumentParser) -> None:
    """Add what `saved_compute` and `environment` read of the command line."""
    parser.add_argument(
        "--fresh", type=float, default=1 / 3, help="share of the rows that are fresh in a redraw"
    )
    parser.add_argument("--redraws", type=int, default=40)
    parser.add_argument("--precision", default="fp32")


def environment(args: argparse.Namespace) -> dict[str, object]:
    """Return what stands beside the numbers."""
    return {
        **machine(threads=torch.get_num_threads(), libraries=("torch", "transformers")),
        "precision": args.precision,
        "redraws": args.redraws,
        "confidence": CONFIDENCE,
    }


def agreement(outcomes: ExitOutcomes) -> list[float]:
    """Return the share of all rows with the teacher's answer, branch by branch."""
    shares: list[float] = (1 - outcomes.disagrees[:, :-1].mean(axis=0)).tolist()
    return shares


def saved_compute(
    seconds: ExitOutcomes, flops: ExitOutcomes, is_held_out: np.ndarray, args: argparse.Namespace
) -> dict[str, object]:
    """Return medians over the redraws for each of `SHARES`, and how many certificates were broken.

    Args:
        seconds: what thresholds are sought and tested with.
        flops: the same rows, costs in FLOPs, to tell what is saved.
        is_held_out: (rows,) those that training has looked at.
        args: of the command line.
    """
    num_unseen = int((~is_held_out).sum())
    calibration_rows = num_unseen - int(args.fresh * num_unseen)
    found: dict[str, list[float]] = {"saved_compute": [], "disagreement": [], "broken": []}
    for share in SHARES:
        constraint = RiskConstraint(max_disagreement=share, confidence=CONFIDENCE)
        saved, disagreements = [], []
        draws = resamples(is_held_out, calibration_rows=calibration_rows, redraws=args.redraws)
        for search, test, fresh_rows in draws:
            fresh = flops.take(fresh_rows)
            fastest = certify(seconds.take(search), seconds.take(test), constraint)
            thresholds = np.zeros(flops.num_exits - 1) if fastest is None else fastest.thresholds
            saved.append(fresh.saved_compute(thresholds))
            disagreements.append(float(fresh.disagrees_at(fresh.exits_taken(thresholds)).mean()))
        found["saved_compute"].append(float(np.median(saved)))
        found["disagreement"].append(float(np.median(disagreements)))
        found["broken"].append(sum(each > share for each in disagreements))
    return {
        "shares": list(SHARES),
        "calibration_rows": calibration_rows,
        "fresh_rows": num_unseen - calibration_rows,
        **found,
    }


if __name__ == "__main__":
    main()
