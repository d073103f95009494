from dataclasses import replace

import numpy as np
import pytest
import torch

from model.engine.execution import (
    Backend,
    Device,
    Execution,
    Precision,
    check_same_execution,
    execution_here,
    resolve_execution,
    runs_here,
    take_worker_device,
)
from model.engine.fused_linear import has_onednn
from model.errors import EnvironmentMismatchError, ParameterError
from model.exits.policy import ExitPolicy


def test_a_precision_is_known_by_its_name():
    assert Precision.parse("bf16") is Precision.BF16
    with pytest.raises(ParameterError) as error:
        Precision.parse("bf-16")
    assert str(error.value) == "`precision` 'bf-16' is none of auto, fp32, bf16, fp16"


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16"])
@pytest.mark.parametrize("is_native", [True, False])
def test_a_cpu_computes_in_bfloat16_where_it_has_it_natively(monkeypatch, flag, is_native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {flag: is_native, "avx2": True})
    expected = Precision.BF16 if is_native and has_onednn(torch.bfloat16) else Precision.FP32
    assert resolve_execution(device="cpu").precision is expected


def test_a_cpu_computes_in_what_is_asked_for():
    assert resolve_execution(Precision.FP32, device="cpu").dtype is torch.float32
    assert resolve_execution(Precision.BF16, device="cpu").dtype is torch.bfloat16
    assert resolve_execution(Precision.FP16, device="cpu").dtype is torch.float16


@pytest.mark.parametrize(("has_bfloat16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_is_taken_where_there_is_one_and_computes_in_what_it_has(monkeypatch, has_bfloat16, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bfloat16)
    execution = resolve_execution()
    assert (execution.device, execution.dtype) == ("cuda", dtype)
    assert resolve_execution(Precision.FP32).dtype is torch.float32
    assert execution.backend is Backend.TORCH


def test_a_device_is_known_by_its_name():
    assert Device.parse("cuda") is Device.CUDA
    with pytest.raises(ParameterError) as error:
        Device.parse("gpu")
    assert str(error.value) == "`device` 'gpu' is none of auto, cpu, cuda"


def test_a_cpu_is_taken_beside_a_gpu_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_execution(Precision.FP32, device=Device.CPU).device == "cpu"
    assert execution_here(Precision.FP32, Device.CPU).device == "cpu"


def test_a_gpu_of_other_machines_wants_a_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    execution = resolve_execution(Precision.BF16, device=Device.CUDA)
    assert (execution.device, execution.precision) == ("cuda", Precision.BF16)
    assert not runs_here(execution)
    with pytest.raises(ParameterError, match="`precision` auto asks the GPU, and this machine has none"):
        resolve_execution(device=Device.CUDA)
    with pytest.raises(ParameterError, match="`device` cuda: torch finds no GPU on this machine"):
        execution_here(device=Device.CUDA)
    assert runs_here(execution_here())


def test_a_worker_without_a_gpu_says_so_and_one_with_takes_its_share(monkeypatch):
    taken = []
    monkeypatch.setattr("model.engine.execution.take_gpu", lambda: taken.append("a GPU"))
    job = resolve_execution(Precision.BF16, device=Device.CUDA)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentMismatchError, match="runs on GPUs, and torch finds none on a worker"):
        take_worker_device(job)
    take_worker_device(resolve_execution(Precision.BF16, device=Device.CPU))
    assert not taken
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    take_worker_device(job)
    assert taken == ["a GPU"]


def test_without_a_gpu_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_execution().device == "cpu"


def test_a_gpu_gets_larger_micro_batches():
    cpu, gpu = (resolve_execution(Precision.FP32, device=device) for device in ("cpu", "cuda"))
    assert cpu.token_budget < gpu.token_budget
    assert cpu.chunk_bytes < gpu.chunk_bytes


def test_it_is_described_in_a_line():
    execution = Execution(
        device="cuda", precision=Precision.BF16, backend=Backend.TORCH, token_budget=99, chunk_bytes=999
    )
    assert execution.summary() == "cuda, bf16 by torch, micro-batches of 99 tokens"


@pytest.mark.parametrize("has_kernels", [True, False])
def test_packed_weights_are_taken_where_they_work(monkeypatch, has_kernels):
    monkeypatch.setattr("model.engine.execution.has_onednn", lambda _: has_kernels)
    expected = Backend.ONEDNN if has_kernels else Backend.TORCH
    assert resolve_execution(Precision.FP32, device="cpu").backend is expected


def test_a_worker_that_would_compute_otherwise_is_refused():
    asked = resolve_execution(Precision.FP32, device="cpu")
    check_same_execution(asked, asked)
    found = replace(asked, backend=Backend.HUGGING_FACE)
    with pytest.raises(EnvironmentMismatchError, match="fp32 by hugging-face"):
        check_same_execution(found, asked)


@pytest.mark.parametrize("layer", [1, 4])
def test_half_precision_answers_in_float32_and_nearly_the_same(
    family, make_fastbert, make_engine, backend, texts, layer
):
    model = make_fastbert(family)
    policy = ExitPolicy.from_exit_layer(layer, num_layers=4)
    exact = model.predict(texts, policy=policy)
    engine = make_engine(model, backend=backend, precision=Precision.BF16)
    result = model.predict(texts, policy=policy, engine=engine)
    assert result.logits.dtype == result.uncertainty.dtype == np.float32
    scale = np.abs(exact.logits).max()
    assert np.abs(result.logits - exact.logits).max() < 0.1 * scale
    assert (result.logits != exact.logits).any()
