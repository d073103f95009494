"""Static students, what one would make instead of an early exit: the first layers of the teacher, distilled.

    python -m benchmarks.speed.students --teacher DIR --labels DIR --work DIR [--layers 6 3] [--eval FILE.tsv]

--labels is a finished output of `fastbert-jobs label-teacher`. Each student keeps the teacher's embeddings,
pooler and classifier, and all its weights are trained to the teacher's logits. WORK/student-6 and so on are
ordinary Hugging Face checkpoints. --eval has a column text_a; agreement with the teacher is reported on it.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from model.checkpoints.loading import load_classifier, load_config, load_tokenizer, silence_transformers
from model.training.loop import TrainingConfig, training_steps
from model.training.self_distillation import self_distillation_loss
from model.training.soft_labelled_texts import SoftLabelledTexts
from pipeline.results.soft_labels import SoftLabels

REPORT_EVERY = 200


def main() -> None:
    args = parse_args()
    labels = SoftLabels.open(str(args.labels))
    tokenizer = load_tokenizer(args.teacher)
    eval_texts = read_texts(args.eval) if args.eval else []
    expected = answers(load_classifier(args.teacher), tokenizer, eval_texts, labels.max_length)
    for num_layers in args.layers:
        student = first_layers(args.teacher, num_layers)
        distil(student, tokenizer, labels, args)
        with silence_transformers():
            student.save_pretrained(args.work / f"student-{num_layers}")
        tokenizer.save_pretrained(args.work / f"student-{num_layers}")
        if eval_texts:
            same = (answers(student, tokenizer, eval_texts, labels.max_length) == expected).float().mean()
            say(f"{num_layers} layers: the teacher's answer to {same:.2%} of {len(eval_texts):,} rows")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--teacher", "--labels", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--eval", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 3])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=32)
    return parser.parse_args()


def first_layers(teacher: Path, num_layers: int) -> PreTrainedModel:
    """Return the teacher cut off after `num_layers` layers, its head on what the last of these says."""
    config = load_config(teacher)
    config.num_hidden_layers = num_layers
    with silence_transformers():  # which would report the tensors of the layers that are cut off
        return AutoModelForSequenceClassification.from_pretrained(teacher, config=config, dtype="float32")


def distil(
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: SoftLabels,
    args: argparse.Namespace,
) -> None:
    config = TrainingConfig(
        epochs=args.epochs, learning_rate=args.learning_rate, batch_size=args.batch_size, seed=0
    )
    started = time.monotonic()

    def backward(batch: SoftLabelledTexts) -> torch.Tensor:
        # Half the time of float32 here, and the same losses.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = student(**encode(tokenizer, batch.texts, labels.max_length)).logits
        loss = self_distillation_loss(logits, torch.from_numpy(batch.logits))
        loss.backward()
        return loss.detach()

    say(f"{student.config.num_hidden_layers} layers, {labels.num_train_rows:,} rows, {config}")
    student.train()
    losses: list[float] = []
    for report in training_steps(
        student,
        config,
        batches=lambda epoch: labels.batches(epoch, batch_size=config.batch_size, seed=config.seed),
        steps_per_epoch=labels.steps_per_epoch(config.batch_size),
        backward=backward,
    ):
        losses.append(report.loss)
        if report.step % REPORT_EVERY == 0:
            mean, minutes = sum(losses) / len(losses), (time.monotonic() - started) / 60
            say(f"step {report.step:,} of {report.total_steps:,}: loss {mean:.4f}, {minutes:.1f} min")
            losses.clear()
        if report.finished_epoch is not None:
            say(f"epoch {report.finished_epoch} of {config.epochs} done")
    student.eval()


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> dict[str, torch.Tensor]:
    return tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")


@torch.inference_mode()
def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int
) -> torch.Tensor:
    """Return the label ids of the texts, (rows,)."""
    parts = [texts[first : first + 32] for first in range(0, len(texts), 32)]
    logits = [model(**encode(tokenizer, part, max_length)).logits for part in parts]
    return torch.cat(logits).argmax(dim=1) if logits else torch.zeros(0)


def read_texts(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text_a"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
