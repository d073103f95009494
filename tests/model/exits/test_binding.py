from dataclasses import replace

import pytest
import torch

from model.engine.elsewhere import EngineElsewhere
from model.engine.execution import Backend, Device, Precision, resolve_execution
from model.errors import ArtifactError
from model.exits import binding
from model.exits.binding import calibrated_execution, check_policy, running_as
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import CalibratedFor, ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.tokens.tokenization import tokenize
from model.version import NUMERICS_VERSION

OTHERWISE = {
    "device": "cuda",
    "precision": "bf16",
    "backend": "hugging-face",
    "max_length": 47,
}


@pytest.fixture(scope="module")
def saved(checkpoints):
    """A FastBERT that has a hash."""
    return FastBertForSequenceClassification.from_pretrained(checkpoints["fastbert"])


@pytest.fixture(scope="module")
def saved_engine(saved, make_engine):
    return make_engine(saved)


@pytest.fixture(scope="module")
def calibrated_for(saved_engine):
    return running_as(saved_engine, 48)


@pytest.fixture(scope="module")
def tokenized(saved, texts):
    return tokenize(saved.tokenizer, texts, max_length=48)


def policy_for(calibrated_for):
    return replace(ExitPolicy.from_speed(0.6, num_layers=4), calibrated_for=calibrated_for)


def test_what_runs_is_told_by_model_execution_and_length(saved, saved_engine, calibrated_for):
    execution = saved_engine.execution
    assert calibrated_for == CalibratedFor(
        model_hash=saved.model_hash,
        numerics_version=NUMERICS_VERSION,
        device="cpu",
        precision="fp32",
        backend=str(execution.backend),
        max_length=48,
    )
    assert {type(value) for value in vars(calibrated_for).values()} == {str, int}


def test_a_policy_answers_for_what_it_was_calibrated_for(saved_engine, calibrated_for, tokenized):
    calibrated = predict_tokenized(saved_engine, tokenized, policy_for(calibrated_for))
    plain = predict_tokenized(saved_engine, tokenized, policy_for(None))
    assert calibrated.exit_layer.tolist() == plain.exit_layer.tolist()
    assert (calibrated.logits == plain.logits).all()


@pytest.mark.parametrize("name", OTHERWISE)
def test_and_for_nothing_else(saved_engine, calibrated_for, tokenized, name):
    policy = policy_for(replace(calibrated_for, **{name: OTHERWISE[name]}))
    with pytest.raises(ArtifactError) as error:
        predict_tokenized(saved_engine, tokenized, policy)
    assert f"{name} ({getattr(calibrated_for, name)}, calibrated for {OTHERWISE[name]})" in str(error.value)
    assert "fastbert-jobs calibrate" in str(error.value)
    assert not any(f"{other} (" in str(error.value) for other in OTHERWISE if other != name)


def test_all_that_differs_is_named(saved_engine, calibrated_for, tokenized):
    with pytest.raises(ArtifactError) as error:
        predict_tokenized(saved_engine, tokenized, policy_for(replace(calibrated_for, **OTHERWISE)))
    assert all(f"{name} (" in str(error.value) for name in OTHERWISE)
    assert "\n" not in str(error.value)


def test_another_models_policy_is_refused(saved_engine, calibrated_for, tokenized):
    policy = policy_for(replace(calibrated_for, model_hash="0" * 64))
    with pytest.raises(ArtifactError, match="the policy is calibrated for another model"):
        predict_tokenized(saved_engine, tokenized, policy)


def test_texts_that_were_cut_elsewhere_are_refused(saved, saved_engine, calibrated_for, texts):
    shorter = tokenize(saved.tokenizer, texts, max_length=20)
    with pytest.raises(ArtifactError, match=r"max_length \(20, calibrated for 48\)"):
        predict_tokenized(saved_engine, shorter, policy_for(calibrated_for))


@pytest.mark.parametrize("backend", [Backend.TORCH, Backend.HUGGING_FACE])
def test_another_backend_is_refused(saved, make_engine, calibrated_for, tokenized, backend):
    engine = make_engine(saved, backend=backend)
    if calibrated_for.backend == backend:
        pytest.skip("this build of torch has no other")
    with pytest.raises(ArtifactError, match="backend"):
        predict_tokenized(engine, tokenized, policy_for(calibrated_for))


def test_a_model_that_was_changed_in_memory_is_another(make_fastbert, make_engine, calibrated_for, tokenized):
    engine = make_engine(make_fastbert("bert"))
    with pytest.raises(ArtifactError, match="another model, or for this one before it was changed"):
        predict_tokenized(engine, tokenized, policy_for(calibrated_for))


def test_a_policy_that_promises_nothing_runs_anywhere(engine):
    check_policy(ExitPolicy.from_speed(0.5, num_layers=4), engine, 7)


def test_what_a_policy_was_calibrated_for_is_what_it_is_run_on(calibrated_for, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    execution = calibrated_execution(calibrated_for)
    assert execution == resolve_execution(Precision.FP32, device="cpu")
    half = calibrated_execution(replace(calibrated_for, precision="bf16"))
    assert (half.precision, half.device) == (Precision.BF16, "cpu")
    # What this machine has not is refused by the check, naming it.
    assert calibrated_execution(replace(calibrated_for, device="cuda")).device == "cpu"


def test_a_graphics_card_is_used_where_there_is_one(calibrated_for, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        binding, "resolve_execution", lambda precision, *, device: asked.append((precision, device))
    )
    calibrated_execution(replace(calibrated_for, device="cuda", precision="fp16"))
    calibrated_execution(calibrated_for)
    assert asked == [(Precision.FP16, "cuda"), (Precision.FP32, "cpu")]


def test_a_device_of_choice_is_taken_and_another_than_calibrated_refused(engine, calibrated_for, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    elsewhere = calibrated_execution(calibrated_for, Device.CUDA)
    assert (elsewhere.device, elsewhere.precision) == ("cuda", Precision.FP32)
    there = EngineElsewhere(
        execution=elsewhere,
        model_hash=engine.model_hash,
        num_layers=engine.num_layers,
        exits=engine.exits,
        task=engine.task,
    )
    with pytest.raises(ArtifactError, match=r"device \(cuda, calibrated for cpu\)"):
        check_policy(policy_for(calibrated_for), there, 48)
    check_policy(policy_for(running_as(there, 48)), there, 48)
