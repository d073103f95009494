"""Texts that can be told apart by a word, and the command line that fine-tunes on them."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoints.loading import load_classifier
from tests.job_fixtures import WORDS, plain_logits

draw = random.Random(0)
TEXTS = [" ".join(draw.choices(WORDS, k=5)) for _ in range(160)]
# Told apart by a single word.
NAMES = ["with" if "echo" in text.split() else "without" for text in TEXTS]
EVAL_TEXTS = [" ".join(draw.choices(WORDS, k=5)) for _ in range(60)]
EVAL_NAMES = ["with" if "echo" in text.split() else "without" for text in EVAL_TEXTS]


def finetune(path: Path, model: Path, output: Path, *more: Any, epochs: int = 1) -> list[Any]:
    """Return the command line that fine-tunes."""
    given = ["--input", path, "--text-column", "text", "--label-column", "label", "--model", model]
    sizes = ["--output", output, "--epochs", epochs, "--batch-size", 8, "--max-length", 16]
    return ["finetune", *given, *sizes, "--learning-rate", 2e-3, *more]


def metrics_of(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "metrics.json").read_text())
    return content


def accuracy(directory: Path, texts: list[str], names: list[str]) -> float:
    model = load_classifier(directory)
    predicted = plain_logits(directory, texts, max_length=16).argmax(1)
    return float(
        np.mean([model.config.id2label[i] == name for i, name in zip(predicted, names, strict=True)])
    )
