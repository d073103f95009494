"""What of a promise arrives on the clock: `score` at a certified disagreement against `score` at full depth.

    python -m benchmarks.jobs.wall_clock --dataset "AG News" --input FILE --text-column text_a \\
        --labels DIR --model DIR

Whole commands, file to file; only their start-up, Beam and loading the model, is not counted. --labels is an
output of label-teacher and --model the FastBERT distilled from it; it is calibrated anew in each precision,
and the model's directory stays as it is. Full depth is run on a random part of the rows, the promise on all
of them, in several copies where they are few, each a file of its own. Both sides run in turn; rates are
medians, and the ratio is theirs. The data set's rows in the Parquet file are replaced; `make performance`
makes the table.
"""

import argparse
import random
import shutil
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.jobs.rates import rate
from benchmarks.results import RESULTS, machine, replace_dataset
from benchmarks.speed.gemm import gemm_peak
from benchmarks.terminal import silently
from jobs.commands.audit import run as audit
from jobs.commands.calibrate import run as calibrate
from jobs.commands.score import run as score
from jobs.configs.audit import AuditConfig
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.options import PrecisionName
from jobs.configs.score import ScoreConfig
from model.engine.execution import Precision, resolve_execution


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        everything, part = copies(args, home), sample(args, home)
        rows = [
            row for precision in args.precision for row in measure(args, precision, everything, part, home)
        ]
    environment = {
        **machine(threads=torch.get_num_threads(), libraries=("torch",)),
        "rounds": args.rounds,
    }
    replace_dataset(args.output, args.dataset, rows, environment)


def measure(
    args: argparse.Namespace, precision: PrecisionName, everything: list[str], part: list[str], home: Path
) -> list[dict[str, object]]:
    """Return a row for each thing that is asked for, all of them and full depth in turn.

    Args:
        args: of the command line.
        precision: number format.
        everything: files that what is asked for is run on.
        part: files that full depth is run on.
        home: directory to work in.
    """
    calibration = str(home / f"calibration-{precision}")
    calibrate_config = CalibrateConfig(
        model=str(args.model), labels=tuple(args.labels), output=calibration, precision=precision
    )
    silently(partial(calibrate, calibrate_config))
    full_depth = config_of(args, part, home / "full-depth", precision, speed=0.0)
    asked = [
        *({"max_disagreement": share, "target_speedup": None} for share in args.max_disagreement),
        *({"max_disagreement": None, "target_speedup": target} for target in args.target_speedup),
    ]
    jobs = [
        config_of(
            args,
            everything,
            home / f"scores-{number}",
            precision,
            calibration=calibration,
            # As in the tables of what promises save.
            promise=None if each["max_disagreement"] is None else "population",
            **each,
        )
        for number, each in enumerate(asked)
    ]
    dtype, peaks = resolve_execution(Precision(precision)).dtype, []
    rates: list[list[float]] = [[] for _ in (full_depth, *jobs)]
    for _ in range(args.rounds):
        peaks.append(gemm_peak(dtype, threads=torch.get_num_threads()))
        for found, config in zip(rates, (full_depth, *jobs), strict=True):
            found.append(rate(partial(score, config)))
    rows = []
    for each, config, found in zip(asked, jobs, rates[1:], strict=True):
        # Of the last round's output; all are alike.
        report = silently(partial(audit, AuditConfig(scores=config.output))).report
        rows.append(
            {
                "dataset": args.dataset,
                "precision": precision,
                **each,
                "saved_compute": report.savings.found,
                "saved_compute_with_shadow": report.savings.with_shadow,
                "full_depth_rows_per_second": median(rates[0]),
                "rows_per_second": median(found),
                "gemm_gflops": median(peaks),
                "rows": report.job.rows,
            }
        )
        print(rows[-1], flush=True)
    return rows


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dataset", required=True, help="its name in the table")
    parser.add_argument("--input", type=Path, required=True, help="a TSV file")
    parser.add_argument("--text-column", required=True)
    parser.add_argument("--labels", action="append", required=True, metavar="DIR")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--max-disagreement", type=float, nargs="*", default=[0.01])
    parser.add_argument("--target-speedup", type=float, nargs="*", default=[4.0])
    parser.add_argument("--full-depth-rows", type=int, default=3000)
    parser.add_argument("--min-rows", type=int, default=60_000, help="of the promise: copied so often")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", type=lambda names: names.split(","), default=["fp32", "bf16"])
    parser.add_argument("--output", type=Path, default=RESULTS / "wall_clock.parquet")
    return parser.parse_args()


def copies(args: argparse.Namespace, home: Path) -> list[str]:
    """Return copies of the input, as many as make the rows enough."""
    num_rows = len(args.input.read_bytes().splitlines()) - 1
    names = [home / f"copy-{number}.tsv" for number in range(-(-args.min_rows // num_rows))]
    for name in names:
        shutil.copy(args.input, name)
    return [str(name) for name in names]


def sample(args: argparse.Namespace, home: Path) -> list[str]:
    """Return the name of a file with a random part of the rows."""
    header, *lines = args.input.read_bytes().splitlines(keepends=True)
    chosen = random.Random(0).sample(lines, min(args.full_depth_rows, len(lines)))
    path = home / "part.tsv"
    path.write_bytes(b"".join([header, *chosen]))
    return [str(path)]


def config_of(
    args: argparse.Namespace, files: list[str], output: Path, precision: PrecisionName, **policy: Any
) -> ScoreConfig:
    return ScoreConfig(
        input=tuple(files), text_column=args.text_column, model=str(args.model), precision=precision,
        output=str(output), overwrite=True, **policy,
    )  # fmt: skip


if __name__ == "__main__":
    main()
