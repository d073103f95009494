"""What is compared, each as a whole: texts in Parquet files in, answers in Parquet files out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from benchmarks.rivals.bilstm import BiLstm
from benchmarks.rivals.series import STUDENT
from benchmarks.speed.exported_baselines import padded_batches
from benchmarks.speed.system import Answers, LabelIds, Rows, System, label_ids_of
from benchmarks.terminal import silently
from jobs.commands.label_teacher import run as label_teacher
from jobs.commands.score import run as score
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.configs.options import PrecisionName
from jobs.configs.score import ScoreConfig
from jobs.driver.job_outcome import JobOutcome
from model.checkpoints.loading import load_config
from pipeline.contract.manifest import LabelManifest, ScoreManifest

TEXT = "text"


@dataclass(frozen=True)
class Outcome:
    """What a system answered to all rows of its files, (rows,), and in how many seconds."""

    label_ids: LabelIds
    seconds: float


class Score:
    """`fastbert-jobs score`; its start-up (Beam, loading and packing the model) is not counted."""

    is_slow = False

    def __init__(
        self, name: str, series: str, model: Path, precision: PrecisionName, home: Path, **policy: Any
    ) -> None:
        self.name, self.series = name, series
        self._model, self._precision, self._home, self._policy = model, precision, home, policy

    def run(self, files: Sequence[Path]) -> Outcome:
        output = str(self._home / "scores")
        config = ScoreConfig(
            input=tuple(map(str, files)), text_column=TEXT, model=str(self._model), output=output,
            precision=self._precision, overwrite=True, **self._policy,
        )  # fmt: skip
        outcome = silently(lambda: score(config))
        return _outcome(outcome, "prediction", output)


class LayersStudent:
    """A static student of some layers, run as fast as we run anything: by `fastbert-jobs label-teacher`."""

    series, is_slow = STUDENT, False

    def __init__(self, directory: Path, max_length: int, precision: PrecisionName, home: Path) -> None:
        num_layers = load_config(directory).num_hidden_layers
        self.name = f"student, {num_layers} layer{'s' if num_layers > 1 else ''}"
        self._directory, self._max_length = directory, max_length
        self._precision, self._home = precision, home

    def run(self, files: Sequence[Path]) -> Outcome:
        output = str(self._home / "student-labels")
        config = LabelTeacherConfig(
            input=tuple(map(str, files)), text_column=TEXT, teacher=str(self._directory), output=output,
            max_length=self._max_length, precision=self._precision, overwrite=True,
        )  # fmt: skip
        outcome = silently(lambda: label_teacher(config))
        return _outcome(outcome, "teacher_prediction", output)


def _outcome(job: JobOutcome[LabelManifest] | JobOutcome[ScoreManifest], column: str, output: str) -> Outcome:
    """Return what a finished job answered, which stands in a column of its output."""
    predictions = pd.read_parquet(output, columns=[column])[column]
    return Outcome(label_ids_of(predictions, job.manifest.labels), job.busy_seconds)


class FileToFile:
    """Any other system, its texts read from files and its answers written to one."""

    def __init__(
        self, system: System, series: str, tokenizer: PreTrainedTokenizerBase, max_length: int, home: Path
    ) -> None:
        self.name, self.series, self.is_slow = system.name, series, system.is_slow
        self._system, self._tokenizer, self._max_length, self._home = system, tokenizer, max_length, home

    def run(self, files: Sequence[Path]) -> Outcome:
        started = time.perf_counter()
        texts = [text for file in files for text in pd.read_parquet(file)[TEXT].tolist()]
        running = time.perf_counter()
        answers = self._system.run(Rows(texts, self._tokenizer, self._max_length))
        # What the system says of itself leaves out the loading of its model.
        own = time.perf_counter() - running
        not_counted = 0.0 if answers.seconds is None else own - answers.seconds
        pd.DataFrame({TEXT: texts, "label": answers.label_ids}).to_parquet(self._home / "answers.parquet")
        return Outcome(answers.label_ids, time.perf_counter() - started - not_counted)


class BiLstmStudent:
    """The student that is no transformer, on batches of like length."""

    series, name, note, is_slow = STUDENT, "student, BiLSTM", "", False

    def __init__(self, directory: Path) -> None:
        self._model = BiLstm.load(directory)

    @torch.inference_mode()
    def run(self, rows: Rows) -> Answers:
        label_ids = np.empty(len(rows), dtype=np.int64)
        for which, ids, mask in padded_batches(rows):
            logits = self._model(torch.from_numpy(ids), torch.from_numpy(mask))
            label_ids[which] = logits.argmax(dim=1).numpy()
        return Answers(label_ids=label_ids, facts={})
