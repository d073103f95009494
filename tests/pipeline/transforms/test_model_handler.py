from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import PredictionResult, RunInference

from model.engine.execution import Precision, resolve_execution
from model.errors import ArtifactError, ParameterError
from model.exits.binding import running_as
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from pipeline.transforms.model_handler import Answer, FastBertModelHandler, Text
from tests.job_fixtures import LABELS, MAX_LENGTH, make_texts, plain_logits, softmax

TEXTS = list(dict.fromkeys(make_texts(40)))


_collected: list[PredictionResult] = []


def _collect(result: PredictionResult) -> None:
    _collected.append(result)


def answers(handler: FastBertModelHandler, texts: list[Text]) -> list[PredictionResult]:
    """What RunInference makes of texts, in their order."""
    _collected.clear()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(texts) | RunInference(handler) | beam.Map(_collect)
    return sorted(_collected, key=lambda result: texts.index(result.example))


def test_full_depth_is_the_hugging_face_model(fastbert: Path, teacher: Path):
    results = answers(FastBertModelHandler(str(fastbert), precision="fp32"), [*TEXTS])
    logits = plain_logits(teacher, TEXTS)
    assert [result.example for result in results] == TEXTS
    assert [result.inference.prediction for result in results] == [LABELS[i] for i in logits.argmax(1)]
    found = np.array([result.inference.probabilities for result in results])
    np.testing.assert_allclose(found, softmax(logits), atol=1e-5)
    assert {result.inference.exit_layer for result in results} == {3}


def test_sure_texts_leave_early(fastbert: Path):
    results = answers(
        FastBertModelHandler(str(fastbert), precision="fp32", speed=0.7, max_batch_size=7), [*TEXTS]
    )
    expected = FastBertForSequenceClassification.from_pretrained(fastbert).predict(TEXTS, speed=0.7)
    assert [result.inference.exit_layer for result in results] == expected.exit_layer.tolist()
    assert [result.inference.prediction for result in results] == expected.predictions
    assert len({result.inference.exit_layer for result in results}) > 1
    assert all(isinstance(result.inference, Answer) for result in results)


def test_texts_leave_by_a_policy(fastbert: Path):
    policy = ExitPolicy.from_exit_layer(2, num_layers=3)
    results = answers(FastBertModelHandler(str(fastbert), policy=policy), [*TEXTS])
    assert {result.inference.exit_layer for result in results} == {2}


def test_speed_and_policy_exclude_each_other():
    policy = ExitPolicy.from_exit_layer(2, num_layers=3)
    with pytest.raises(ParameterError, match="`speed` and `policy` exclude each other"):
        FastBertModelHandler("model", speed=0.0, policy=policy)


def test_a_precision_that_there_is_not_is_refused():
    with pytest.raises(ParameterError, match="`precision` 'bf-16' is none of auto, fp32, bf16, fp16"):
        FastBertModelHandler("model", precision="bf-16")


def test_pairs_are_answered_as_pairs(fastbert: Path, teacher: Path):
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    results = answers(FastBertModelHandler(str(fastbert), precision="fp32"), [*pairs])
    found = np.array([result.inference.probabilities for result in results])
    np.testing.assert_allclose(found, softmax(plain_logits(teacher, TEXTS, TEXTS[::-1])), atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_model_is_loaded_in_the_precision_asked_for(fastbert: Path, precision: str):
    handler = FastBertModelHandler(str(fastbert), precision=precision)
    model = handler.load_model()
    assert model.engine.execution.precision == precision
    (result,) = handler.run_inference(["echo fern"], model)
    assert sum(result.inference.probabilities) == pytest.approx(1, abs=1e-5)


def test_the_size_of_a_batch_is_that_of_its_texts():
    handler = FastBertModelHandler("nowhere", max_batch_size=9)
    assert handler.get_num_bytes(["ab", "c"]) == 3
    assert handler.get_num_bytes([("ab", "c"), ("d", "e")]) == 5
    assert handler.batch_elements_kwargs()["max_batch_size"] == 9


def test_a_speed_outside_the_unit_interval_is_refused_before_the_pipeline_runs():
    with pytest.raises(ParameterError, match=r"`speed` 1.5 is outside \[0, 1\]"):
        FastBertModelHandler("anywhere", speed=1.5)


def calibrated(model: FastBertForSequenceClassification, precision: Precision, **changes: str) -> ExitPolicy:
    """A policy that is calibrated for a model on a CPU."""
    engine = model.engine(resolve_execution(precision, device="cpu"))
    calibrated_for = replace(running_as(engine, MAX_LENGTH), **changes)
    return replace(ExitPolicy.from_speed(0.7, num_layers=3), calibrated_for=calibrated_for)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_a_calibrated_policy_says_the_precision(fastbert: Path, precision: Precision):
    model = FastBertForSequenceClassification.from_pretrained(fastbert)
    handler = FastBertModelHandler(str(fastbert), policy=calibrated(model, precision))
    assert handler.load_model().engine.execution.precision == precision
    assert len(answers(handler, [*TEXTS])) == len(TEXTS)


def test_another_models_calibrated_policy_is_refused(fastbert: Path):
    model = FastBertForSequenceClassification.from_pretrained(fastbert)
    handler = FastBertModelHandler(
        str(fastbert), policy=calibrated(model, Precision.FP32, model_hash="0" * 64)
    )
    with pytest.raises(ArtifactError, match="calibrated for another model"):
        handler.run_inference(["echo"], handler.load_model())


def test_a_precision_that_the_policy_is_not_calibrated_for_is_refused(fastbert: Path):
    model = FastBertForSequenceClassification.from_pretrained(fastbert)
    handler = FastBertModelHandler(str(fastbert), policy=calibrated(model, Precision.FP32), precision="bf16")
    with pytest.raises(ArtifactError, match=r"precision \(bf16, calibrated for fp32\)"):
        handler.run_inference(["echo"], handler.load_model())
