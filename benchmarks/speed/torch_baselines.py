"""The same teacher in torch: Hugging Face, sentence-transformers, Beam's RunInference."""

import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import torch
import transformers
from apache_beam.metrics import MetricsFilter
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.runners.runner import PipelineResult
from sentence_transformers import CrossEncoder

from benchmarks.speed.measurements import (
    BASELINE,
    CROSS_ENCODER,
    HF_PIPELINE,
)
from benchmarks.speed.system import Answers, Rows
from jobs.configs.runner import RunnerConfig
from jobs.driver.runner import make_pipeline
from model.checkpoints.loading import load_config

BATCH_SIZE = 32
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _pipeline(teacher: Path, precision: str) -> transformers.Pipeline:
    return transformers.pipeline(
        "text-classification", str(teacher), batch_size=BATCH_SIZE, dtype=DTYPES[precision], device="cpu"
    )


class HuggingFace:
    """`transformers.pipeline`: batches in the order of the texts, padded to their longest."""

    series, name, note, is_slow = BASELINE, HF_PIPELINE, "batches of 32", True

    def __init__(self, teacher: Path, precision: str) -> None:
        self._pipeline = _pipeline(teacher, precision)
        self._ids = self._pipeline.model.config.label2id

    def run(self, rows: Rows) -> Answers:
        found = self._pipeline(rows.texts, truncation=True, max_length=rows.max_length)
        return Answers(label_ids=np.array([self._ids[answer["label"]] for answer in found]), facts={})


class _SingleTexts(CrossEncoder):
    """`CrossEncoder.predict` takes a list of strings for one pair; here it is a batch of single texts."""

    def is_singular_input(self, inputs: object) -> bool:
        return False


class SentenceTransformers:
    """`CrossEncoder.predict`: all texts sorted by their characters, batches padded to their longest."""

    series, name, is_slow = BASELINE, CROSS_ENCODER, True
    note = "batches of 32, sorted by characters; patched, since it is made for pairs"

    def __init__(self, teacher: Path, precision: str, *, max_length: int) -> None:
        self._model = _SingleTexts(
            str(teacher), max_length=max_length, device="cpu", model_kwargs={"dtype": DTYPES[precision]}
        )

    def run(self, rows: Rows) -> Answers:
        logits = self._model.predict(rows.texts, batch_size=BATCH_SIZE, show_progress_bar=False)
        return Answers(label_ids=logits.argmax(axis=1), facts={})


class _PipelineHandler(ModelHandler):
    """What Beam's own handler does, which cannot be imported without TensorFlow."""

    def __init__(self, teacher: Path, precision: str, max_length: int) -> None:
        super().__init__(min_batch_size=BATCH_SIZE, max_batch_size=BATCH_SIZE)
        self._teacher, self._precision, self._max_length = teacher, precision, max_length

    def load_model(self) -> transformers.Pipeline:
        return _pipeline(self._teacher, self._precision)

    def run_inference(
        self, batch: Sequence[str], model: transformers.Pipeline, inference_args: dict | None = None
    ) -> list[str]:
        found = model(list(batch), truncation=True, max_length=self._max_length)
        return [answer["label"] for answer in found]


class BeamRunInference:
    """Beam's `RunInference` around the Hugging Face pipeline, on the runner that our commands use."""

    series, name, is_slow = BASELINE, "Beam RunInference", True
    note = "batches of 32, texts in memory to file, loading the model not counted"

    def __init__(self, teacher: Path, precision: str, *, max_length: int) -> None:
        self._handler = KeyedModelHandler(_PipelineHandler(teacher, precision, max_length))
        self._ids = load_config(teacher).label2id

    def run(self, rows: Rows) -> Answers:
        with tempfile.TemporaryDirectory() as home:
            pipeline = make_pipeline(RunnerConfig())
            _ = (
                pipeline
                | beam.Create(list(enumerate(rows.texts)))
                | RunInference(self._handler)
                | beam.MapTuple(lambda row, label: f"{row}\t{label}")
                | beam.io.WriteToText(f"{home}/answers")
            )
            started = time.perf_counter()
            result = pipeline.run()
            result.wait_until_finish()
            seconds = time.perf_counter() - started
            lines = [line for file in Path(home).iterdir() for line in file.read_text().splitlines()]
        found = dict(line.split("\t") for line in lines)
        return Answers(
            label_ids=np.array([self._ids[found[str(row)]] for row in range(len(rows))]),
            seconds=seconds - _loading_seconds(result),
            facts={},
        )


def _loading_seconds(result: PipelineResult) -> float:
    """Return what `RunInference` says of loading the model."""
    wanted = MetricsFilter().with_name("load_model_latency_milli_secs")
    return sum(found.result.sum for found in result.metrics().query(wanted)["distributions"]) / 1000


def be_quiet() -> None:
    """Keep what these libraries say while they load and export off the screen."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="torch|transformers")
