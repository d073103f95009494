"""Static students, what one would make instead of an early exit: small models distilled from a teacher.

    python -m benchmarks.rivals.students --teacher DIR --labels DIR --output DIR --layers 6 3 1 --bilstm

--labels is a finished output of `fastbert-jobs label-teacher`. A student of N layers is the teacher cut off
after them, with its embeddings, pooler and classifier; OUTPUT/student-N is an ordinary Hugging Face
checkpoint. OUTPUT/bilstm is a bidirectional LSTM over the teacher's tokens. All weights learn the teacher's
logits with the chances that branches have: the same rows, passes until the KL on the rows that `distill`
holds out falls no more, a running average of the weights, and the best of its states; and of several
--learning-rate the best by the same KL.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.rivals.bilstm import BiLstm
from benchmarks.terminal import say
from model.checkpoints.loading import load_classifier, load_config, load_tokenizer, silence_transformers
from model.training.branch_learners import BranchLearners
from model.training.distillation_config import max_epochs
from model.training.loop import constant_after_warmup, training_steps
from model.training.self_distillation import BranchQuality, self_distillation_loss
from model.training.soft_labelled_texts import SoftLabelledTexts
from model.training.training_config import TrainingConfig
from pipeline.results.soft_labels import SoftLabels

BATCH_SIZE = 32

Student = TypeVar("Student", bound=nn.Module)


class Layers(nn.Module):
    """The teacher cut off after some layers, its head on what the last of these says."""

    def __init__(self, teacher: Path, num_layers: int) -> None:
        super().__init__()
        config = load_config(teacher)
        config.num_hidden_layers = num_layers
        with silence_transformers():  # which would report the tensors of the layers that are cut off
            self.model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
                teacher, config=config, dtype="float32"
            )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def main() -> None:
    args = parse_args()
    labels = SoftLabels.open([str(directory) for directory in args.labels])
    tokenizer = load_tokenizer(args.teacher)
    for num_layers in args.layers:
        directory = args.output / f"student-{num_layers}"
        student = best_of(partial(Layers, args.teacher, num_layers), tokenizer, labels, args, directory.name)
        with silence_transformers():
            student.model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
    if args.bilstm:
        teacher = load_classifier(args.teacher)
        embeddings, num_labels = teacher.get_input_embeddings().weight, teacher.config.num_labels
        make = partial(BiLstm.from_embeddings, embeddings, num_labels)
        best_of(make, tokenizer, labels, args, "bilstm").save(args.output / "bilstm")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--teacher", "--output"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--labels", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--layers", type=int, nargs="*", default=[])
    parser.add_argument("--bilstm", action="store_true")
    parser.add_argument("--learning-rate", type=float, nargs="+", default=[1e-4])
    return parser.parse_args()


def best_of(
    make: Callable[[], Student],
    tokenizer: PreTrainedTokenizerBase,
    labels: SoftLabels,
    args: argparse.Namespace,
    name: str,
) -> Student:
    """Return the student of the learning rate that brings it nearest to the teacher."""
    trained = []
    for learning_rate in args.learning_rate:
        student = make()
        kl = distil(student, tokenizer, labels, learning_rate, name=f"{name}, {learning_rate:g}")
        trained.append((kl, student))
    return min(trained, key=itemgetter(0))[1]


def distil(
    student: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    labels: SoftLabels,
    learning_rate: float,
    *,
    name: str,
) -> float:
    """Train all weights of a student in place until the KL on held-out rows falls no more; return that KL."""
    held_out = labels.held_out()
    assert held_out is not None, "the corpus is too small to hold rows out"
    steps_per_epoch = labels.steps_per_epoch(BATCH_SIZE)
    # A student is trained as one branch is.
    learners = BranchLearners(nn.ModuleList([student]), rest_when_converged=True)
    config = TrainingConfig(
        epochs=max_epochs(steps_per_epoch), learning_rate=learning_rate, batch_size=BATCH_SIZE
    )

    def backward(batch: SoftLabelledTexts) -> Tensor:
        # Half the time of float32 on many machines, and the same losses.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = student(**encode(tokenizer, batch.texts, labels.max_length))
        loss = self_distillation_loss(logits, torch.from_numpy(batch.logits))
        loss.backward()
        return loss.detach()

    started = time.monotonic()
    student.train()
    for report in training_steps(
        learners,
        config,
        batches=lambda epoch: labels.batches(epoch, batch_size=BATCH_SIZE, seed=config.seed),
        steps_per_epoch=steps_per_epoch,
        backward=backward,
        schedule=constant_after_warmup,
    ):
        learners.count_step()
        if report.finished_epoch is not None:
            quality = judge(learners.averages[0], tokenizer, held_out, labels.max_length)
            learners.judge([quality.kl])
            say(
                f"{name}: pass {report.finished_epoch}, {quality.agreement:.2%} of {len(held_out):,} "
                f"held-out answers, KL {quality.kl:.4f}, {(time.monotonic() - started) / 60:.1f} min"
            )
            if learners.is_resting.all():
                break
    learners.finish()
    student.eval()
    return float(learners.best_kl)


@torch.inference_mode()
def judge(
    student: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: SoftLabelledTexts, max_length: int
) -> BranchQuality:
    """Return how a student does on texts that it does not learn from."""
    student.eval()
    by_length = texts.take(texts.num_tokens.argsort().tolist())
    parts = [
        encode(tokenizer, by_length.texts[first : first + BATCH_SIZE], max_length)
        for first in range(0, len(by_length), BATCH_SIZE)
    ]
    logits = torch.cat([student(**part) for part in parts])
    return BranchQuality.of(0, logits, torch.from_numpy(by_length.logits))


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> dict[str, Tensor]:
    """Return `input_ids` and `attention_mask`, (texts, width), padded to the longest."""
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


if __name__ == "__main__":
    main()
