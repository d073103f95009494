"""What a certificate rests on: texts that the teacher remembers, near copies, and texts of another kind.

    python -m benchmarks.memory.run --data DIR --weights DIR --work DIR

SST-2's training file holds sentences together with phrases of them. Its texts are parted by sentence: a
phrase goes with the first of the longest texts that it stands in (a short one may stand in others too). The
sentences are dealt out: to fine-tune a teacher, to distil branches from, and to nobody. Then a promise is
calibrated with each kind of text, and held against every kind:

- learnt: what the teacher was fine-tuned on;
- near copies: phrases of the sentences that branches learnt phrases of, themselves unseen;
- new: phrases and sentences of which nobody has seen a part, and of these the sentences by themselves;
- dev: SST-2's dev sentences.

Writes a Parquet file; `make performance` makes the table. WORK keeps the models.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.prepare import BERT, Dataset, label_and_distill, make_teacher, read_rows
from benchmarks.results import RESULTS, machine, write_rows
from benchmarks.terminal import say
from model.checkpoints.loading import load_classifier, load_tokenizer
from model.engine.execution import Precision, resolve_execution
from model.exits.teacher import Teacher
from model.fastbert import FastBertForSequenceClassification
from model.guarantee.calibrate import calibrate
from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.risk_constraint import RiskConstraint
from model.guarantee.risk_control import certify
from model.guarantee.temperature_scaling import exit_uncertainty, fit_scaling
from model.tokens.tokenization import tokenize
from pipeline.contract import schema
from pipeline.results.soft_labels import SoftLabels

SHARES = (0.005, 0.01, 0.02, 0.05)
CONFIDENCE = 0.95
# Of the sentences: for the teacher, for the branches; the others are new.
PARTS = (0.17, 0.45)
LEARNT, NEAR, NEW, SENTENCES, DEV = "learnt", "near copies", "new", "new sentences", "dev"
CALIBRATED_ON, HELD_AGAINST = (LEARNT, NEAR, NEW), (LEARNT, NEAR, NEW, SENTENCES, DEV)
MAX_LENGTH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--data", "--weights", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--calibration-rows", type=int, default=6000)
    parser.add_argument("--redraws", type=int, default=40)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--output", type=Path, default=RESULTS / "memory.parquet")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    texts = parted_by_sentence(read_rows(args.data / "sst2_glue/train.tsv"))
    make_models(texts, args)
    kinds = kinds_of_text(texts, args)
    exits = all_exits(pd.concat(kinds.values())["text"].drop_duplicates().tolist(), args)
    write_rows(args.output, measure(exits, kinds, args), environment(kinds, args))


def parted_by_sentence(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `text`, `label`, `sentence`, the number of the longest text that each stands in, and `part`."""
    rows = rows.assign(text=rows["text"].str.strip()).drop_duplicates("text")
    words = rows["text"].str.split()
    rows = rows.iloc[np.argsort(-words.str.len().to_numpy(), kind="stable")].reset_index(drop=True)
    sentence_of: dict[str, int] = {}
    sentences = []
    for row, text in enumerate(rows["text"].str.split()):
        whole = " ".join(text)
        sentences.append(sentence_of.get(whole, row))
        if whole not in sentence_of:
            for first in range(len(text)):
                for stop in range(first + 1, len(text) + 1):
                    sentence_of.setdefault(" ".join(text[first:stop]), row)
    rows["sentence"] = sentences
    numbers = np.unique(sentences)
    drawn = np.random.default_rng(0).permutation(len(numbers)) / len(numbers)
    part = np.digitize(drawn, np.cumsum(PARTS))
    rows["part"] = part[np.searchsorted(numbers, sentences)]
    return rows.iloc[np.random.default_rng(1).permutation(len(rows))]


def make_models(texts: pd.DataFrame, args: argparse.Namespace) -> None:
    """Fine-tune the teacher, label the texts of the branches, and distil them."""
    texts[texts["part"] == 0].to_parquet(args.work / "labelled.parquet", index=False)
    texts.loc[texts["part"] == 1, ["text"]].to_parquet(args.work / "unlabelled.parquet", index=False)
    dataset = Dataset(files=(), encoder=BERT, teacher_rows=0, max_length=MAX_LENGTH)
    make_teacher(dataset, args.weights, args.work)
    label_and_distill(
        args.work / "unlabelled.parquet",
        args.work / "teacher",
        args.work,
        max_length=MAX_LENGTH,
        precision=args.precision,
    )


def kinds_of_text(texts: pd.DataFrame, args: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """Return `text` and `label` of each kind."""
    shards = SoftLabels.open(str(args.work / "labels")).read_shards(columns=[schema.TEXT, schema.SPLIT])
    split = pd.concat([shard.to_pandas() for shard in shards])
    unseen = split.loc[split[schema.SPLIT] == schema.CALIBRATION_SPLIT, schema.TEXT]
    new = texts[texts["part"] == 2]
    dev = read_rows(args.data / "sst2_glue/dev.tsv")
    dev = dev.assign(text=dev["text"].str.strip()).drop_duplicates("text")
    longest = new.groupby("sentence")["text"].transform(lambda group: group.loc[group.str.len().idxmax()])
    return {
        LEARNT: texts[texts["part"] == 0],
        NEAR: texts[texts["text"].isin(unseen)],
        NEW: new,
        SENTENCES: new[new["text"] == longest],
        DEV: dev[~dev["text"].isin(texts["text"])],
    }


def all_exits(texts: list[str], args: argparse.Namespace) -> tuple[list[str], ExitCalibration]:
    """Return the texts, and what every exit answers to them."""
    execution = resolve_execution(Precision(args.precision))
    directory = args.work / "teacher"
    tokenizer = load_tokenizer(directory)
    teacher = Teacher.of(load_classifier(directory), tokenizer, execution)
    logits = teacher.logits(tokenize(tokenizer, texts, max_length=MAX_LENGTH))
    model = FastBertForSequenceClassification.from_pretrained(args.work / "fastbert")
    say(f"{len(texts):,} texts through all exits")
    return texts, calibrate(model, texts, logits, execution=execution)


def measure(
    exits: tuple[list[str], ExitCalibration], kinds: dict[str, pd.DataFrame], args: argparse.Namespace
) -> list[dict[str, object]]:
    """Return one row for each kind that is calibrated on and each promise: medians over the redraws."""
    texts, calibration = exits
    places = {text: place for place, text in enumerate(texts)}
    rows_of = {kind: np.array([places[text] for text in rows["text"]]) for kind, rows in kinds.items()}
    measured = []
    for kind in CALIBRATED_ON:
        redraws = list(redrawn(calibration, rows_of[kind], args))
        for share in SHARES:
            constraint = RiskConstraint(max_disagreement=share, confidence=CONFIDENCE)
            found = []
            for search, test, with_scalings in redraws:
                latency, flops = with_scalings.latency_outcomes, with_scalings.flops_outcomes
                fastest = certify(latency.take(search), latency.take(test), constraint)
                thresholds = (
                    np.zeros(flops.num_exits - 1, dtype=np.float32) if fastest is None else fastest.thresholds
                )
                drawn = np.append(search, test)
                fresh = {name: flops.take(np.setdiff1d(rows_of[name], drawn)) for name in HELD_AGAINST}
                found.append(
                    [part.disagrees_at(part.exits_taken(thresholds)).mean() for part in fresh.values()]
                    + [fresh[NEW].saved_compute(thresholds), fresh[DEV].saved_compute(thresholds)]
                )
            *disagreement, on_new, on_dev = np.median(found, axis=0).tolist()
            own = HELD_AGAINST.index(kind)
            broken = {
                name: int((np.array(found)[:, place] > share).sum())
                for place, name in enumerate(HELD_AGAINST)
            }
            measured.append(
                {
                    "calibrated_on": kind,
                    "max_disagreement": share,
                    "disagreement": disagreement,
                    "own": disagreement[own],
                    "broken": broken,
                    "saved_compute": on_new,
                    "saved_compute_dev": on_dev,
                }
            )
            say(str(measured[-1]))
    return measured


def redrawn(
    calibration: ExitCalibration, rows: np.ndarray, args: argparse.Namespace
) -> Iterator[tuple[np.ndarray, np.ndarray, ExitCalibration]]:
    """Yield search and test rows of each redraw, and the exits by the scalings that these give."""
    is_search = search_rows(np.zeros(args.calibration_rows, dtype=np.bool_))
    for seed in range(args.redraws):
        drawn = np.random.default_rng(seed).permutation(rows)[: args.calibration_rows]
        search = drawn[is_search]
        scalings = tuple(
            fit_scaling(
                calibration.logits[search, place], calibration.teacher_logits[search], calibration.answer
            )
            for place in range(len(calibration.exits) - 1)
        )
        uncertainty = exit_uncertainty(calibration.logits, scalings, calibration.answer)
        yield (
            search,
            drawn[~is_search],
            replace(calibration, uncertainty=uncertainty, scalings=scalings),
        )


def environment(kinds: dict[str, pd.DataFrame], args: argparse.Namespace) -> dict[str, object]:
    """Return what stands beside the numbers: how many texts, and how often the teacher is right."""
    directory, execution = args.work / "teacher", resolve_execution(Precision(args.precision))
    model, tokenizer = load_classifier(directory), load_tokenizer(directory)
    teacher = Teacher.of(model, tokenizer, execution)
    accuracy = []
    for rows in kinds.values():
        logits = teacher.logits(tokenize(tokenizer, rows["text"].tolist(), max_length=MAX_LENGTH))
        names = [model.config.id2label[index] for index in logits.argmax(axis=1).tolist()]
        accuracy.append(float(np.mean(np.array(names) == rows["label"].to_numpy())))
    return {
        **machine(threads=torch.get_num_threads(), libraries=("torch", "transformers")),
        "precision": args.precision,
        "kinds": list(kinds),
        "texts": [len(rows) for rows in kinds.values()],
        "tokens": [float(rows["text"].str.split().str.len().mean()) for rows in kinds.values()],
        "accuracy": accuracy,
        "branch_texts": SoftLabels.open(str(args.work / "labels")).num_train_rows,
        "calibration_rows": args.calibration_rows,
        "redraws": args.redraws,
    }


if __name__ == "__main__":
    main()
