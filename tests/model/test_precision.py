import numpy as np
import pytest
import torch

from model.early_exit import predict_tokenized
from model.policy import ExitPolicy
from model.precision import Execution, Precision, resolve_execution
from model.tokenization import tokenize


def test_a_cpu_computes_in_float32_unless_asked_otherwise():
    execution = resolve_execution(device="cpu")
    assert execution.precision is Precision.FP32
    assert execution.dtype is torch.float32
    assert resolve_execution(Precision.BF16, device="cpu").dtype is torch.bfloat16
    assert resolve_execution(Precision.FP16, device="cpu").dtype is torch.float16


@pytest.mark.parametrize(("has_bfloat16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_is_taken_where_there_is_one_and_computes_in_what_it_has(monkeypatch, has_bfloat16, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bfloat16)
    execution = resolve_execution()
    assert (execution.device, execution.dtype) == ("cuda", dtype)
    assert resolve_execution(Precision.FP32).dtype is torch.float32
    assert resolve_execution(device="cpu").dtype is torch.float32


def test_without_a_gpu_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_execution().device == "cpu"


def test_a_gpu_gets_larger_micro_batches():
    cpu, gpu = (resolve_execution(Precision.FP32, device=device) for device in ("cpu", "cuda"))
    assert cpu.token_budget < gpu.token_budget
    assert cpu.chunk_tokens < gpu.chunk_tokens
    for execution in (cpu, gpu):
        assert execution.token_budget < execution.chunk_tokens


def test_it_is_described_in_a_line():
    execution = Execution(device="cuda", precision=Precision.BF16, token_budget=99, chunk_tokens=999)
    assert execution.describe() == "cuda, bf16, micro-batches of 99 tokens"


@pytest.mark.parametrize("layer", [1, 4])
def test_half_precision_answers_in_float32_and_nearly_the_same(family, make_fastbert, texts, layer):
    model = make_fastbert(family)
    policy = ExitPolicy.from_exit_layer(layer, num_layers=4)
    exact = model.predict(texts, policy=policy)
    model.to(torch.bfloat16)
    tokenized = tokenize(model.tokenizer, texts, max_length=48)
    result = predict_tokenized(model, tokenized, policy, resolve_execution(Precision.BF16, device="cpu"))
    assert result.logits.dtype == result.uncertainty.dtype == np.float32
    scale = np.abs(exact.logits).max()
    assert np.abs(result.logits - exact.logits).max() < 0.1 * scale
    assert (result.logits != exact.logits).any()
