from dataclasses import replace

import numpy as np
import pytest
import torch

from model.engine.execution import Backend, Precision, resolve_execution
from model.engine.layer_runner import expected_backend, runner_for
from model.tokens.packing import micro_batches

LENGTHS = np.array([9, 9, 5, 2, 1], dtype=np.int64)


@pytest.fixture
def runner(fastbert, backend):
    execution = replace(resolve_execution(Precision.FP32, device="cpu"), backend=backend)
    return runner_for(fastbert.adapter, execution)


def test_a_model_is_run_by_the_backend_asked_for(runner, backend):
    assert runner.backend is backend


def test_a_model_that_is_no_packed_blocks_is_run_by_its_own_layers(make_fastbert):
    execution = resolve_execution(Precision.FP32, device="cpu")
    assert runner_for(make_fastbert("mobilebert").adapter, execution).backend is Backend.HUGGING_FACE


@torch.no_grad()
def test_layers_are_those_of_each_text_alone(fastbert, runner):
    states = torch.randn(int(LENGTHS.sum()) + 32, 32, generator=torch.Generator().manual_seed(0))
    before, texts = states.clone(), states[: LENGTHS.sum()].split(LENGTHS.tolist())
    exact, first_text = {"rtol": 0, "atol": 1e-5}, 0
    for batch in micro_batches(LENGTHS, 18):
        part = runner.slice_states(states, batch)
        assert part.is_contiguous()
        assert len(part) >= batch.num_real_tokens
        run = texts[first_text : first_text + len(batch.lengths)]
        first_text += len(batch.lengths)
        expected = torch.cat([fastbert.adapter.run_layer(1, text[None], (None,))[0] for text in run])
        found = runner.run_layer(2, part, batch)
        torch.testing.assert_close(found[: batch.num_real_tokens], expected, **exact)
        last = torch.stack([fastbert.adapter.run_layer(3, text[None], (None,))[0, 0] for text in run])
        torch.testing.assert_close(runner.run_last_layer(part, batch), last, **exact)
    assert first_text == len(LENGTHS)
    assert torch.equal(states, before)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "mobilebert", "deberta-v2", "modernbert"])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16, Precision.FP16])
def test_what_a_gpu_will_run_is_known_without_one(make_fastbert, kind, precision):
    adapter = make_fastbert(kind).adapter
    execution = resolve_execution(precision, device="cuda")
    is_packed = kind == "bert" and precision is not Precision.FP32
    expected = Backend.TORCH if is_packed else Backend.HUGGING_FACE
    assert expected_backend(adapter, execution) is expected


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize("kind", ["bert", "mpnet", "mobilebert", "deberta-v2", "modernbert"])
def test_what_is_expected_is_what_is_run(make_fastbert, kind, precision):
    adapter = make_fastbert(kind).adapter
    execution = resolve_execution(precision, device="cpu")
    adapter.model.to(execution.dtype)
    assert expected_backend(adapter, execution) is runner_for(adapter, execution).backend


def test_on_gpus_before_ampere_plain_layers_are_run(make_fastbert, monkeypatch, caplog):
    monkeypatch.setattr("model.engine.packed.layers.has_variable_length_attention", lambda: False)
    execution = resolve_execution(Precision.FP16, device="cuda")
    assert runner_for(make_fastbert("bert").adapter, execution).backend is Backend.HUGGING_FACE
    assert "wants a newer GPU" in caplog.text
