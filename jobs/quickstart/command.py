"""`fastbert-jobs quickstart`: the whole line on text that every installation already has.

Sentences from the docstrings of installed packages, the label being the package. Each step is printed as the
command line that it is, and run as that.
"""

import csv
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jobs.commands.audit import AuditOutcome
from jobs.configs.quickstart import QuickstartConfig
from jobs.driver.atomic_directory import check_local
from jobs.driver.job_outcome import JobOutcome
from jobs.quickstart.docstring_corpus import corpus
from jobs.quickstart.tiny_bert import write_tiny_bert
from jobs.terminal.console import print_next_step, stdout_console, table
from model.checks import check_seed
from model.errors import OutputError
from model.messages import format_ratio
from pipeline.contract.manifest import ScoreManifest

Execute = Callable[[Sequence[str]], Any]

PACKAGES = ("torch", "transformers", "apache_beam", "pandas", "numpy")
MARKER = "fastbert-quickstart"


@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """What one policy gave on the test rows.

    Attributes:
        policy: an option of `score`, and its value.
        mean_exit_layer: from 1.
        saved_compute: full depth over this, real lengths, attention and branches counted.
        seconds: of scoring, start-up excluded.
        agreement: share of rows with full depth's answer.
        accuracy: share of rows with the true label.
    """

    policy: str
    mean_exit_layer: float
    saved_compute: float
    seconds: float
    agreement: float
    accuracy: float


def run(config: QuickstartConfig, execute: Execute) -> list[PolicyResult]:
    """Make a model, a FastBERT of it, score with it by several policies, and compare them.

    Args:
        config: how large the job is.
        execute: runs the words of a command line, the program's name left out.

    Raises:
        ParameterError: if the seed is none.
        OutputError: if the output directory holds something else, or cannot be written.
    """
    started = time.monotonic()
    check_seed(config.seed)
    work_dir = _fresh_work_dir(config)
    _write_texts(config, work_dir)
    _command(
        execute, "finetune", "--input", work_dir / "train.tsv", "--eval-input", work_dir / "eval.tsv",
        "--text-column", "text", "--label-column", "label", "--model", work_dir / "pretrained",
        "--output", work_dir / "teacher", "--epochs", config.finetune_epochs, "--learning-rate", 5e-4,
        "--max-length", config.max_length, "--seed", config.seed,
    )  # fmt: skip
    _command(
        execute, "label-teacher", "--input", work_dir / "corpus.tsv", "--text-column", "text",
        "--teacher", work_dir / "teacher", "--output", work_dir / "labels", "--max-length", config.max_length,
    )  # fmt: skip
    _command(
        execute, "distill", "--labels", work_dir / "labels", "--backbone", work_dir / "teacher",
        "--output", work_dir / "fastbert", "--epochs", config.distill_epochs, "--seed", config.seed,
    )  # fmt: skip
    _command(execute, "calibrate", "--model", work_dir / "fastbert", "--labels", work_dir / "labels")
    results = [_score(execute, work_dir, policy, config.policies[0]) for policy in config.policies]
    _show(results, config)
    stdout_console().print(f"{time.monotonic() - started:,.0f} s in all; everything is in {work_dir}/")
    print_next_step(
        stdout_console(), "label-teacher", "--input", "YOUR_FILES", "--text-column", "COLUMN",
        "--teacher", "YOUR_MODEL", "--output", "labels",
    )  # fmt: skip
    return results


def _fresh_work_dir(config: QuickstartConfig) -> Path:
    check_local(config.output)
    work_dir = Path(config.output)
    try:
        if work_dir.exists():
            if not (work_dir / MARKER).is_file():
                raise OutputError(f"{config.output!r} exists and is no quickstart's; choose another `output`")
            shutil.rmtree(work_dir)
        work_dir.mkdir(parents=True)
        (work_dir / MARKER).touch()
    except OSError as error:
        raise OutputError(f"{config.output!r} cannot be written: {error}") from error
    return work_dir


def _write_texts(config: QuickstartConfig, work_dir: Path) -> None:
    """Gather sentences, part them, and make a tokenizer and an untrained BERT from the training part."""
    console = stdout_console()
    with console.status(f"gathering sentences from the docstrings of {', '.join(PACKAGES)}"):
        total = config.train_rows + config.eval_rows + config.test_rows + config.corpus_rows
        rows = corpus(PACKAGES, max_per_package=total, seed=config.seed)
    sizes = {"train": config.train_rows, "eval": config.eval_rows, "test": config.test_rows}
    first = 0
    for name, size in sizes.items():
        _write_tsv(work_dir / f"{name}.tsv", ("text", "label"), rows[first : first + size])
        first += size
    unlabelled = [(text,) for text, _ in rows[first : first + config.corpus_rows]]
    _write_tsv(work_dir / "corpus.tsv", ("text",), unlabelled)
    console.print(
        f"{len(rows):,} distinct sentences from the docstrings of {', '.join(PACKAGES)}: "
        f"{config.train_rows:,} labelled by their package, {len(unlabelled):,} unlabelled, "
        f"{config.test_rows:,} to score",
        soft_wrap=True,
    )
    with console.status("training a tokenizer"):
        write_tiny_bert(
            work_dir / "pretrained",
            [text for text, _ in rows[: config.train_rows]],
            vocab_size=config.vocab_size,
            num_layers=config.num_layers,
            hidden_size=config.hidden_size,
            max_length=config.max_length,
            seed=config.seed,
        )


def _write_tsv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        writer.writerows([header, *rows])


def _command(execute: Execute, *args: object) -> Any:
    """Print a command line, run it, and return what its `run` returned."""
    words = [str(arg) for arg in args]
    stdout_console().print(f"\n$ fastbert-jobs {shlex.join(words)}", soft_wrap=True, style="bold")
    return execute(words)


def _score(execute: Execute, work_dir: Path, policy: str, full_depth: str) -> PolicyResult:
    """Score the test rows by one policy, and compare with full depth."""
    output = _scores(work_dir, policy)
    outcome: JobOutcome[ScoreManifest] = _command(
        execute, "score", "--input", work_dir / "test.tsv", "--text-column", "text",
        "--model", work_dir / "fastbert", "--output", output, "--keep", "text", *policy.split(),
    )  # fmt: skip
    audit: AuditOutcome = _command(execute, "audit", output, "--labels-input", work_dir / "test.tsv")
    savings, labelled = audit.report.savings, audit.report.labelled
    answers = pd.read_parquet(output, columns=["prediction"])["prediction"].to_numpy()
    expected = pd.read_parquet(_scores(work_dir, full_depth), columns=["prediction"])["prediction"].to_numpy()
    assert labelled is not None, "the test rows have labels"
    return PolicyResult(
        policy=policy,
        mean_exit_layer=savings.mean_exit_layer,
        saved_compute=savings.found,
        seconds=outcome.busy_seconds,
        agreement=float(np.mean(answers == expected)),
        accuracy=labelled.overall.accuracy.value or 0.0,
    )


def _scores(work_dir: Path, policy: str) -> Path:
    """Return the directory of a policy's scores: scores-speed-0 for --speed 0."""
    return work_dir / f"scores{policy[1:].replace(' ', '-')}"


def _show(results: Sequence[PolicyResult], config: QuickstartConfig) -> None:
    """Print one row per policy."""
    full_depth = results[0].seconds
    rows = [
        (
            result.policy,
            f"{result.mean_exit_layer:.2f}",
            format_ratio(result.saved_compute),
            format_ratio(full_depth / result.seconds),
            f"{config.test_rows / result.seconds:,.0f}",
            f"{result.agreement:.2%}",
            f"{result.accuracy:.2%}",
        )
        for result in results
    ]
    columns = ("score", "mean exit layer", "saved compute", "wall clock", "rows/s", "agreement", "accuracy")
    console = stdout_console()
    console.print()
    console.print(table(f"{config.test_rows:,} rows, {config.num_layers} layers", columns, rows))
    console.print(
        "saved compute: full depth's FLOPs over these, real text lengths, attention and branches counted\n"
        "wall clock: full depth's time over this, reading and writing counted\n"
        "agreement: rows with the full-depth answer"
    )
