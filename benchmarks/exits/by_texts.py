"""What more unlabelled text is worth: FastBERTs distilled from ever more of it, at the same promises.

    python -m benchmarks.exits.by_texts --dataset "AG News" --labels DIR --teacher DIR --texts 1000 3000

--labels is an output of label-teacher with a large --calibration-fraction, by --teacher. Each FastBERT is
distilled, with default options, from a random part of its train split, a smaller part of a larger one, and
all are calibrated and judged on the same calibration split; see `benchmarks.exits.run`. The data set's rows
in the Parquet file are replaced; `make performance` makes the table.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.exits.run import add_redraws, agreement, environment, saved_compute
from benchmarks.guarantee.run import calibrate
from benchmarks.prepare import label_and_distill
from benchmarks.results import RESULTS, replace_dataset
from benchmarks.terminal import say, silently
from pipeline.contract import schema
from pipeline.results.soft_labels import SoftLabels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dataset", required=True, help="its name in the table")
    for name in ("--labels", "--teacher"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--texts", type=int, nargs="+", required=True, help="how many, ascending")
    add_redraws(parser)
    parser.add_argument("--output", type=Path, default=RESULTS / "exits_by_texts.parquet")
    args = parser.parse_args()
    texts = train_texts(args.labels)
    rows = []
    for count in args.texts:
        with tempfile.TemporaryDirectory() as home:
            model = fastbert(args, texts[:count], Path(home))
            exits = calibrate(str(model), (str(args.labels),), args.precision)
        outcomes = exits.latency_outcomes, exits.flops_outcomes
        rows.append(
            {
                "dataset": args.dataset,
                "train_rows": min(count, len(texts)),
                **saved_compute(*outcomes, exits.is_held_out, args),
                "agreement": agreement(exits.flops_outcomes),
            }
        )
        say(str(rows[-1]))
    replace_dataset(args.output, args.dataset, rows, environment(args))


def train_texts(labels: Path) -> list[str]:
    """Return the distinct texts of the train split, in a random order that is always the same."""
    shards = SoftLabels.open(str(labels)).read_shards(columns=[schema.TEXT, schema.SPLIT])
    tables = pd.concat([shard.to_pandas() for shard in shards])
    texts = tables.loc[tables[schema.SPLIT] == schema.TRAIN_SPLIT, schema.TEXT].unique()
    return [texts[index] for index in np.random.default_rng(0).permutation(len(texts))]


def fastbert(args: argparse.Namespace, texts: list[str], home: Path) -> Path:
    """Return the directory of a FastBERT that was distilled from some texts."""
    pd.DataFrame({"text": texts}).to_parquet(home / "texts.parquet")
    max_length = SoftLabels.open(str(args.labels)).max_length
    silently(
        lambda: label_and_distill(
            home / "texts.parquet",
            args.teacher,
            home,
            max_length=max_length,
            precision=args.precision,
            calibration_fraction=0.0,
        )
    )
    return home / "fastbert"


if __name__ == "__main__":
    main()
