"""The same teacher exported: ONNX Runtime and OpenVINO."""

import tempfile
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from benchmarks.speed.measurements import (
    BASELINE,
    ONNX_RUNTIME,
    ONNX_RUNTIME_INT8,
    OPENVINO_BEST,
    OPENVINO_DEFAULT,
)
from benchmarks.speed.system import Answers, Rows
from model.checkpoints.loading import label_names, load_classifier, load_config
from model.tokens.lengths import argsort_by_length
from model.tokens.packing import MicroBatch, micro_batches

TOKEN_BUDGET = 1024
BARE = "bare: texts are tokenised, sorted by length, micro-batches of 1024 tokens"


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


def padded_batches(rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield which rows, their token ids and their attention mask, longest first."""
    order = argsort_by_length(rows.tokenized.lengths)
    texts = rows.tokenized.take(order)
    for batch in micro_batches(texts.lengths, TOKEN_BUDGET):
        mask = _mask(batch)
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = texts.input_ids[batch.token_slice]
        yield order[batch.text_slice], ids, mask.astype(np.int64)


def _mask(batch: MicroBatch) -> np.ndarray:
    return np.arange(batch.max_seqlen) < batch.lengths[:, None]


class OnnxRuntime:
    """ONNX Runtime with its default graph optimisations (all), float32 or int8."""

    series, note, is_slow = BASELINE, BARE, False

    def __init__(self, teacher: Path, *, int8: bool, threads: int) -> None:
        self.name = ONNX_RUNTIME_INT8 if int8 else ONNX_RUNTIME
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
        for which, ids, mask in padded_batches(rows):
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
            # One scale per channel, and embeddings left alone: what costs agreement and gains no time.
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
    """OpenVINO: one request after another on all cores, or its throughput mode, one stream per core."""

    series, note, is_slow = BASELINE, BARE, False

    def __init__(self, teacher: Path, precision: str, *, best: bool, threads: int) -> None:
        self.name = OPENVINO_BEST if best else OPENVINO_DEFAULT
        self.note = ("THROUGHPUT, one stream per core; " if best else "LATENCY, one stream; ") + BARE
        options: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "THROUGHPUT" if best else "LATENCY",
        }
        if best:
            options["NUM_STREAMS"] = threads
        self._model = openvino.Core().compile_model(openvino_model(teacher), "CPU", options)
        # One more per stream waits, so that no stream waits for Python.
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

        for which, ids, mask in padded_batches(rows):
            request = finish_oldest()
            request.start_async({0: ids, 1: mask})
            requests.append((request, which))
        while requests:
            finish_oldest()
        return Answers(label_ids=logits.argmax(axis=1), facts={})


@cache
def openvino_model(teacher: Path) -> openvino.Model:
    return openvino.convert_model(_Logits(teacher), example_input=_example())
