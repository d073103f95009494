"""The same teacher in the hands of others."""

import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import apache_beam as beam
import numpy as np
import onnxruntime
import openvino
import torch
import transformers
from apache_beam.metrics import MetricsFilter
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.runners.runner import PipelineResult
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import CrossEncoder
from torch import Tensor, nn

from contestant import Answers, Rows
from jobs.driver.runner import RunnerConfig, make_pipeline
from measurements import HF_PIPELINE, OPENVINO_BEST, OPENVINO_DEFAULT
from model.checkpoints.loading import label_names, load_classifier, load_config
from model.tokens.packing import MicroBatch, argsort_by_length, micro_batches

BATCH_SIZE = 32
TOKEN_BUDGET = 1024
BARE = "bare: texts are tokenised, sorted by length, micro-batches of 1024 tokens"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _pipeline(teacher: Path, precision: str) -> transformers.Pipeline:
    return transformers.pipeline(
        "text-classification", str(teacher), batch_size=BATCH_SIZE, dtype=DTYPES[precision], device="cpu"
    )


class HuggingFace:
    """`transformers.pipeline`: batches in the order of the texts, padded to their longest."""

    series, name, note, is_slow = "peer", HF_PIPELINE, "batches of 32", True

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

    series, name, is_slow = "peer", "CrossEncoder", True
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

    series, name, is_slow = "peer", "Beam RunInference", True
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


class _Logits(nn.Module):
    """The teacher as the exporters want it: tensors in, one tensor out."""

    def __init__(self, teacher: Path) -> None:
        super().__init__()
        self._model = load_classifier(teacher)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self._model(input_ids=input_ids, attention_mask=attention_mask).logits


def _example() -> tuple[Tensor, Tensor]:
    mask = torch.ones(2, 8, dtype=torch.int64)
    # Of a mask without zeros, tracing would keep that there is nothing to mask.
    mask[1, 5:] = 0
    return torch.ones_like(mask), mask


def _padded(rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield which rows, their token ids and their attention mask, longest first."""
    order = argsort_by_length(rows.tokenized.lengths)
    texts = rows.tokenized.take(order)
    for batch in micro_batches(texts.lengths, TOKEN_BUDGET):
        mask = _mask(batch)
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = texts.input_ids[batch.token_slice]
        yield order[batch.text_slice], ids, mask.astype(np.int64)


def _mask(batch: MicroBatch) -> np.ndarray:
    return np.arange(batch.lengths[0]) < batch.lengths[:, None]


class OnnxRuntime:
    """ONNX Runtime with its default graph optimisations (all), float32 or int8."""

    series, note, is_slow = "peer", BARE, False

    def __init__(self, teacher: Path, *, int8: bool, threads: int) -> None:
        self.name = "ONNX Runtime" + (", int8" if int8 else "")
        if int8:
            self.note = "weights int8, dynamic; " + BARE
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            _onnx(teacher, int8=int8), options, providers=["CPUExecutionProvider"]
        )
        self._num_labels = len(label_names(load_config(teacher)))

    def run(self, rows: Rows) -> Answers:
        logits = np.empty((len(rows), self._num_labels), dtype=np.float32)
        for which, ids, mask in _padded(rows):
            (logits[which],) = self._session.run(None, {"input_ids": ids, "attention_mask": mask})
        return Answers(label_ids=logits.argmax(axis=1), facts={})


@cache
def _onnx(teacher: Path, *, int8: bool) -> bytes:
    """Return the exported teacher."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, "teacher.onnx")
        if int8:
            plain = Path(home, "plain.onnx")
            plain.write_bytes(_onnx(teacher, int8=False))
            # A scale a channel, and embeddings left alone: what costs agreement and gains no time.
            quantize_dynamic(
                plain, path, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul"]
            )
        else:
            names = ["input_ids", "attention_mask"]
            # The tracing exporter: what the newer one made of this model was slower, and answered wrongly.
            torch.onnx.export(
                _Logits(teacher),
                _example(),
                path,
                input_names=names,
                output_names=["logits"],
                dynamic_axes={name: {0: "rows", 1: "width"} for name in names},
                dynamo=False,
            )
        return path.read_bytes()


class OpenVino:
    """OpenVINO: one request after another on all cores, or its throughput mode, a stream a core."""

    series, note, is_slow = "peer", BARE, False

    def __init__(self, teacher: Path, precision: str, *, best: bool, threads: int) -> None:
        self.name = OPENVINO_BEST if best else OPENVINO_DEFAULT
        self.note = ("THROUGHPUT, a stream a core; " if best else "LATENCY, one stream; ") + BARE
        options: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "THROUGHPUT" if best else "LATENCY",
        }
        if best:
            options["NUM_STREAMS"] = threads
        self._model = openvino.Core().compile_model(_openvino(teacher), "CPU", options)
        # One more a stream waits, so that no stream waits for Python.
        self._requests = [self._model.create_infer_request() for _ in range(2 * threads if best else 1)]
        self._num_labels = len(label_names(load_config(teacher)))

    def run(self, rows: Rows) -> Answers:
        logits = np.empty((len(rows), self._num_labels), dtype=np.float32)
        # Not AsyncInferQueue: after its callbacks, destroying the model has been seen to wait for ever.
        requests: deque[tuple[openvino.InferRequest, np.ndarray | None]]
        requests = deque((request, None) for request in self._requests)

        def finish_oldest() -> openvino.InferRequest:
            request, which = requests.popleft()
            if which is not None:
                request.wait()
                logits[which] = request.get_output_tensor().data
            return request

        for which, ids, mask in _padded(rows):
            request = finish_oldest()
            request.start_async({0: ids, 1: mask})
            requests.append((request, which))
        while requests:
            finish_oldest()
        return Answers(label_ids=logits.argmax(axis=1), facts={})


@cache
def _openvino(teacher: Path) -> openvino.Model:
    return openvino.convert_model(_Logits(teacher), example_input=_example())


def be_quiet() -> None:
    """Keep what these libraries say while they load and export off the screen."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="torch|transformers")
