"""Full depth of families whose blocks are their own, against Hugging Face's `pipeline`: texts in, labels out.

    python -m benchmarks.families.run --data DIR --tokenizer DIR

Models are of the real shapes, with random weights (`shapes.py`); texts are real, of three lengths: DIR has
sst2_glue/dev.tsv, ag_news/test.tsv and imdb/test.tsv. Tokens are those of --tokenizer, a WordPiece one, on
all sides. Systems take turns, round after round, on one thread; the CPU time of each is taken. "Its own
layers" is our engine with Hugging Face's layers on padded micro-batches, which is how a family is run that
has no packed blocks.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
import transformers

from benchmarks.families.series import OWN_LAYERS, PACKED, PIPELINE
from benchmarks.families.shapes import SHAPES, save_random_model
from benchmarks.results import RESULTS, machine, write_rows
from benchmarks.speed.datasets import distinct_texts
from benchmarks.speed.gemm import gemm_peak
from benchmarks.terminal import say
from model.checkpoints.loading import load_classifier, load_tokenizer
from model.engine.execution import Backend, Precision, resolve_execution
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import tokenize

# File and number of texts; the longest are cut to MAX_LENGTH tokens.
TEXTS = {
    "SST-2 dev": ("sst2_glue/dev.tsv", 64),
    "AG News": ("ag_news/test.tsv", 32),
    "IMDB": ("imdb/test.tsv", 8),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BATCH_SIZE = 32
MAX_LENGTH = 512
WARM_UP_ROWS = 8
# One, whose CPU time is counted: what other processes of the machine do counts little then.
THREADS = 1


class Pipeline:
    """`transformers.pipeline`, batches in the order of the texts."""

    def __init__(self, directory: Path, precision: str) -> None:
        self._pipeline = transformers.pipeline(
            "text-classification",
            str(directory),
            batch_size=BATCH_SIZE,
            dtype=DTYPES[precision],
            device="cpu",
        )

    def run(self, texts: list[str]) -> np.ndarray:
        found = self._pipeline(texts, truncation=True, max_length=MAX_LENGTH, top_k=None)
        return np.array([[answer["score"] for answer in sorted(each, key=_label)] for each in found])


class Ours:
    """`predict` at full depth: tokenised, sorted, run, put back into order."""

    def __init__(self, model: FastBertForSequenceClassification, precision: str, backend: Backend) -> None:
        execution = resolve_execution(Precision(precision), device="cpu")
        self._model = model
        self._engine = model.engine(replace(execution, backend=backend))
        assert self._engine.execution.backend is backend, "packed layers were not used"

    def run(self, texts: list[str]) -> np.ndarray:
        logits = self._model.predict(texts, engine=self._engine).logits
        return torch.from_numpy(logits).softmax(dim=1).numpy()


def _label(answer: dict[str, str]) -> str:
    return answer["label"]


def main() -> None:
    args = parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(THREADS)
    environment = machine(threads=THREADS, libraries=("torch", "transformers"))
    rows: list[dict[str, object]] = []
    for name in args.only:
        with tempfile.TemporaryDirectory() as home:
            for precision in args.precision:
                rows += measure(args, name, precision, Path(home))
                # After every one: what is measured is not lost when a later one fails.
                write_rows(args.output, rows, {**environment, "max_length": MAX_LENGTH})


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--data", "--tokenizer"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--precision", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "families.parquet")
    return parser.parse_args()


def measure(args: argparse.Namespace, name: str, precision: str, home: Path) -> list[dict[str, object]]:
    """Return a row for each kind of texts and system."""
    tokenizer = load_tokenizer(args.tokenizer)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.model_max_length = MAX_LENGTH
    save_random_model(name, tokenizer, home)
    model = FastBertForSequenceClassification.from_backbone(
        load_classifier(home), load_tokenizer(home), max_length=MAX_LENGTH
    )
    systems = {
        PIPELINE: Pipeline(home, precision),
        OWN_LAYERS: Ours(model, precision, Backend.HUGGING_FACE),
        PACKED: Ours(model, precision, resolve_execution(Precision(precision), device="cpu").backend),
    }
    rows: list[dict[str, object]] = []
    for kind, (file, count) in TEXTS.items():
        texts = distinct_texts(args.data / file)[:count]
        num_tokens = tokenize(tokenizer, texts, max_length=MAX_LENGTH).lengths.mean()
        common = {"model": name, "precision": precision, "texts": kind, "rows": len(texts)}
        rows += compare(args, systems, texts, {**common, "tokens": float(num_tokens)})
    return rows


def compare(
    args: argparse.Namespace,
    systems: dict[str, Pipeline | Ours],
    texts: list[str],
    common: dict[str, object],
) -> list[dict[str, object]]:
    """Return a row for each system, all of them having taken turns."""
    seconds: dict[str, list[float]] = {system: [] for system in systems}
    answers: dict[str, np.ndarray] = {}
    peak = gemm_peak(DTYPES[str(common["precision"])], threads=THREADS, clock=time.process_time)
    say(f"GEMM peak {peak:.0f} GFLOP/s")
    for system in systems.values():
        system.run(texts[:WARM_UP_ROWS])
    for number in range(args.rounds):
        for name, system in systems.items():
            started = time.process_time()
            answers[name] = system.run(texts)
            seconds[name].append(time.process_time() - started)
            say(
                f"{common['model']} {common['precision']} {common['texts']} {number}: {name} "
                f"{len(texts) / seconds[name][-1]:.2f} rows/s"
            )
    return [
        {
            **common,
            "system": name,
            "rows_per_second": len(texts) / median(seconds[name]),
            "to_pipeline": median(
                theirs / ours for theirs, ours in zip(seconds[PIPELINE], seconds[name], strict=True)
            ),
            "largest_difference": float(np.abs(answers[name] - answers[PIPELINE]).max()),
            "gemm_gflops": peak,
            "rounds": args.rounds,
        }
        for name in systems
    ]


if __name__ == "__main__":
    main()
