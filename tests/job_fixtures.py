"""Tiny models and text that the tests of `pipeline` and `jobs` share."""

import csv
import gzip
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from jobs.cli import main
from jobs.quickstart.tiny_bert import write_tiny_bert
from model.engine.execution import Precision, resolve_execution
from model.exits.exit_logits import all_exit_logits
from model.exits.teacher import teacher_logits
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import tokenize
from tests.random_lexical_branch import add_lexical_branch

LABELS = ("no", "maybe", "yes")
MAX_LENGTH = 24
NUM_LAYERS = 3
WORDS = [
    "able",
    "bake",
    "calm",
    "dune",
    "echo",
    "fern",
    "glow",
    "hush",
    "iris",
    "jade",
    "kelp",
    "lime",
    "moss",
    "nook",
    "opal",
    "pine",
    "quay",
    "rust",
    "sage",
    "teak",
]


def make_texts(num_texts: int, *, seed: int = 0, longest: int = 12) -> list[str]:
    """Random sentences of 1 to `longest` words, some of them twice."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(num_texts)]


def write_classifier(
    directory: Path,
    *,
    labels: Sequence[str] = LABELS,
    num_layers: int = NUM_LAYERS,
    seed: int = 0,
    hidden_size: int = 32,
    **config: Any,
) -> Path:
    """Write a tiny BERT classifier of random weights whose answers differ from text to text."""
    encoder = directory.with_name(directory.name + "-encoder")
    write_tiny_bert(
        encoder, make_texts(200), vocab_size=80, num_layers=num_layers,
        hidden_size=hidden_size, num_heads=2, max_length=MAX_LENGTH, seed=seed,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            encoder,
            id2label=dict(enumerate(labels)),
            label2id={label: place for place, label in enumerate(labels)},
            **config,
        )
    strengthen(model, 8.0 * (32 / hidden_size) ** 0.5)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    texts = tokenize(tokenizer, make_texts(200), max_length=MAX_LENGTH)
    spread_out(model.classifier, teacher_logits(model.eval(), tokenizer, texts, token_budget=512), spread=1.5)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def strengthen(module: torch.nn.Module, factor: float) -> None:
    """Make fresh weights, which hardly do anything, so large that what goes in shows in what comes out."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 2 and "embeddings" not in name:
                parameter.mul_(factor)


def spread_out(classifier: torch.nn.Linear, logits: np.ndarray, *, spread: float) -> None:
    """Shift and scale a classifier of random weights so that no answer is the same for all texts."""
    scale = spread / torch.from_numpy(logits.std(axis=0))
    with torch.no_grad():
        classifier.bias.copy_((classifier.bias - torch.from_numpy(logits.mean(axis=0))) * scale)
        classifier.weight.mul_(scale[:, None])


def write_fastbert(directory: Path, classifier: Path) -> Path:
    """Write a FastBERT whose branches have random weights, and are anything from sure to unsure."""
    model = FastBertForSequenceClassification.from_backbone(
        AutoModelForSequenceClassification.from_pretrained(classifier),
        AutoTokenizer.from_pretrained(classifier),
        max_length=MAX_LENGTH,
        seed=1,
    )
    strengthen(model.branches, 3.0)
    texts = tokenize(model.tokenizer, make_texts(200), max_length=MAX_LENGTH)
    execution = resolve_execution(Precision.FP32, device="cpu")
    logits = all_exit_logits(model.engine(execution), texts)
    for place, branch in enumerate(model.branches):
        spread_out(branch.classifier, logits[:, place], spread=1.0 + place)
    model.save_pretrained(directory)
    return directory


def write_speechless(checkpoint: Path, directory: Path, texts: Sequence[str]) -> list[int]:
    """Write a copy of a checkpoint that answers NaN to some of the texts; return which."""
    shutil.copytree(checkpoint, directory)
    path = directory / "model.safetensors"
    tensors = load_file(path)
    (name,) = (name for name in tensors if name.endswith("word_embeddings.weight"))
    ids = AutoTokenizer.from_pretrained(directory)(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    # The token that is in fewest of them.
    times = Counter(token for row in ids for token in set(row))
    spoilt = min(times, key=lambda token: (times[token], token))
    tensors[name][spoilt] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})
    lost = [row for row, found in enumerate(ids) if spoilt in found]
    assert 0 < len(lost) < len(texts)
    return lost


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a classifier of three labels."""
    return write_classifier(tmp_path_factory.mktemp("models") / "teacher")


@pytest.fixture(scope="session")
def fastbert(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Path:
    """Directory of a FastBERT around `teacher`."""
    return write_fastbert(tmp_path_factory.mktemp("models") / "fastbert", teacher)


@pytest.fixture(scope="session")
def lexical_fastbert(tmp_path_factory: pytest.TempPathFactory, fastbert: Path) -> Path:
    """Directory of the same FastBERT with a lexical branch."""
    directory = tmp_path_factory.mktemp("models") / "lexical"
    model = FastBertForSequenceClassification.from_pretrained(fastbert)
    add_lexical_branch(model, make_texts(200)).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def two_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a FastBERT of two labels."""
    directory = tmp_path_factory.mktemp("models")
    return write_fastbert(directory / "fastbert", write_classifier(directory / "two", labels=("bad", "good")))


@pytest.fixture(scope="session")
def many_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a FastBERT of 77 labels."""
    directory = tmp_path_factory.mktemp("models")
    labels = [f"intent {number}" for number in range(77)]
    return write_fastbert(directory / "fastbert", write_classifier(directory / "many", labels=labels))


def plain_logits(
    directory: Path, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int = MAX_LENGTH
) -> np.ndarray:
    """The Hugging Face model's own answers, text by text, nothing padded or sorted."""
    model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    answers: dict[tuple[str, str | None], np.ndarray] = {}
    with torch.inference_mode():
        for text, pair in zip(texts, pairs or [None] * len(texts), strict=True):
            if (text, pair) not in answers:
                inputs = tokenizer(text, pair, truncation=True, max_length=max_length, return_tensors="pt")
                answers[text, pair] = model(**inputs).logits[0].numpy()
    return np.stack([answers[row] for row in zip(texts, pairs or [None] * len(texts), strict=True)])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    return torch.from_numpy(logits).softmax(-1).numpy()


Rows = Mapping[str, Sequence[Any]]


def write_tsv(path: Path, rows: Rows) -> Path:
    """Write columns of strings without any quoting."""
    lines = ["\t".join(rows), *("\t".join(map(str, row)) for row in zip(*rows.values(), strict=True))]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    return path


def write_csv(path: Path, rows: Rows) -> Path:
    """Write columns as RFC 4180."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([list(rows), *zip(*rows.values(), strict=True)])
    return path


def write_jsonl(path: Path, rows: Rows) -> Path:
    """Write columns as JSON objects."""
    objects = (dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in objects), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Rows) -> Path:
    """Write columns in several row groups."""
    pq.write_table(
        pa.table({name: pa.array(values) for name, values in rows.items()}), path, row_group_size=7
    )
    return path


def write_gzipped_csv(path: Path, rows: Rows) -> Path:
    """Write a compressed CSV, which is one work item."""
    path.write_bytes(gzip.compress(write_csv(path, rows).read_bytes()))
    return path


WRITERS: dict[str, Callable[[Path, Rows], Path]] = {
    "rows.tsv": write_tsv,
    "rows.csv": write_csv,
    "rows.jsonl": write_jsonl,
    "rows.parquet": write_parquet,
    "rows.csv.gz": write_gzipped_csv,
}


def read_output(directory: Path | str) -> pa.Table:
    """The shards of a finished job, as the manifest lists them."""
    manifest = read_manifest_file(directory)
    return pa.concat_tables(pq.read_table(Path(directory) / shard["name"]) for shard in manifest["shards"])


def read_rejected(directory: Path | str) -> list[tuple[str, int, str, bytes | None]]:
    """The rejected rows of a job as (source, row, reason, raw value)."""
    paths = sorted((Path(directory) / "rejected").glob("*"))
    rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
    return [(row["source"], row["row"], row["reason"], row["raw_value"]) for row in rows]


def read_manifest_file(directory: Path | str) -> dict[str, Any]:
    """The manifest as it stands on disk."""
    content: dict[str, Any] = json.loads((Path(directory) / "_MANIFEST.json").read_text())
    return content


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, but for what the job's runs took, which is never the same."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.parent.name != "_times"
    }


class CommandLine:
    """Runs `fastbert-jobs` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: object) -> str:
        """Run a command that must succeed; return what it printed."""
        status, out, err = self.run(*args)
        assert status == 0, err
        return out

    def run(self, *args: object) -> tuple[int, str, str]:
        """Run a command; return its exit code, standard output and standard error."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main([str(arg) for arg in args])
        out, err = self._capsys.readouterr()
        assert isinstance(exit_info.value.code, int)
        return exit_info.value.code, out, err

    def refused(self, *args: object) -> str:
        """Run a command that must be refused in one line with exit code 2; return the line."""
        status, out, err = self.run(*args)
        assert status == 2, err
        assert out == ""
        assert err.endswith("\n")
        (line,) = err.splitlines()
        assert line.startswith("fastbert-jobs: ")
        return line.removeprefix("fastbert-jobs: ")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Return what runs a command."""
    return CommandLine(capsys)
