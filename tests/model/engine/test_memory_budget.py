from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.engine.execution import Precision, resolve_execution
from model.engine.memory_budget import MemoryBudget, max_tokens_for_memory
from model.tokens.packing import micro_batches

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12).map(
    lambda lengths: np.array(sorted(lengths, reverse=True), dtype=np.int64)
)


@given(LENGTHS, st.integers(9, 100))
def test_parts_are_all_texts_in_order_and_fit(lengths, limit):
    def texts_that_fit(part):
        if part.num_padded_tokens > limit:
            raise torch.OutOfMemoryError
        return part.lengths.tolist()

    (batch,) = micro_batches(lengths, 1000)
    budget = MemoryBudget(1000)
    parts = budget.run_in_parts(texts_that_fit, batch)
    assert list(chain.from_iterable(parts)) == lengths.tolist()
    assert budget.tokens <= 1000
    assert (len(parts) == 1) == (budget.tokens == 1000) == (batch.num_padded_tokens <= limit)


def test_results_may_be_of_any_kind():
    (batch,) = micro_batches(np.array([3, 2]), 100)
    assert MemoryBudget(100).run_in_parts(lambda _: None, batch) == [None]


def test_what_is_cut_later_is_as_small_as_what_fitted():
    def one_at_a_time(part):
        if len(part.lengths) > 1:
            raise torch.OutOfMemoryError

    budget, lengths = MemoryBudget(1000), np.full(16, 10)
    (batch,) = micro_batches(lengths, 1000)
    budget.run_in_parts(one_at_a_time, batch)
    assert budget.tokens <= 10
    assert all(len(later.lengths) == 1 for later in budget.micro_batches(lengths))


def test_other_errors_are_the_callers():
    (batch,) = micro_batches(np.array([3, 2]), 100)
    with pytest.raises(ZeroDivisionError):
        MemoryBudget(100).run_in_parts(lambda _: 1 // 0, batch)


@pytest.mark.parametrize("free_bytes", [1, 1 << 24, 1 << 40])
def test_a_gpu_begins_with_what_it_has_memory_for(monkeypatch, free_bytes):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free_bytes, 1 << 50))
    execution = resolve_execution(Precision.FP16, device="cuda")
    expected = min(execution.token_budget, max_tokens_for_memory(free_bytes, 100))
    assert MemoryBudget.on_device(execution, 100).tokens == expected
    cpu = resolve_execution(Precision.FP32, device="cpu")
    assert MemoryBudget.on_device(cpu, 100).tokens == cpu.token_budget
