from copy import deepcopy

import pytest
import torch

from model.engine.execution import Precision, resolve_execution
from model.exits.teacher import Teacher
from model.training import branch_batches
from model.training.branch_batches import BranchBatches
from model.training.branches import backbone_engine
from model.training.soft_labelled_texts import SoftLabelledTexts, concatenate

FP32 = resolve_execution(Precision.FP32, device="cpu")


@pytest.fixture(scope="module")
def model(make_fastbert):
    return make_fastbert("bert")


@pytest.fixture(scope="module")
def engine(model):
    return backbone_engine(model, FP32)


@pytest.fixture(scope="module")
def labels(model, texts):
    teacher = Teacher.of(deepcopy(model.backbone), model.tokenizer, FP32)
    once = SoftLabelledTexts.from_teacher(teacher, texts, max_length=model.config.max_length)
    # A text that stands there twice, with another pair.
    return concatenate([once, once.take([3, 3])])


@pytest.fixture
def batches(model, engine, labels, monkeypatch):
    """Return what makes batches, of states of at most so many bytes."""

    def make(state_bytes=branch_batches._STATE_BYTES):
        monkeypatch.setattr(branch_batches, "_STATE_BYTES", state_bytes)
        return BranchBatches(model, engine, labels, batch_size=5, seed=3)

    return make


@pytest.fixture
def computed(monkeypatch):
    """Texts whose states were computed, a number a call."""
    calls = []
    compute = branch_batches.LayerStates

    def spy(engine, texts):
        calls.append(len(texts))
        return compute(engine, texts)

    monkeypatch.setattr(branch_batches, "LayerStates", spy)
    return calls


def seen(batch, layer):
    indices, mask = batch.states().batch_indices(batch.rows)
    return batch.states().hidden_states(layer, indices), mask


@pytest.mark.parametrize("epoch", [0, 2])
def test_states_that_are_kept_are_those_of_the_batchs_texts(batches, labels, epoch):
    kept, streamed = batches()(epoch), batches(1)(epoch)
    num_rows = 0
    for batch, other in zip(kept, streamed, strict=True):
        num_rows += len(batch.labels)
        assert batch.labels.texts == other.labels.texts
        for layer in (1, 2, 3):
            (states, mask), (expected, other_mask) = seen(batch, layer), seen(other, layer)
            assert (mask is None and other_mask is None) or torch.equal(mask, other_mask)
            torch.testing.assert_close(states, expected, rtol=0, atol=1e-5)
    assert num_rows == len(labels)


def test_states_of_a_small_corpus_are_computed_once(batches, computed, labels):
    epochs = batches()
    for epoch in range(3):
        for batch in epochs(epoch):
            seen(batch, 1)
    assert computed == [len(labels)]


def test_states_of_a_large_one_are_computed_anew_in_every_epoch(batches, computed, labels):
    epochs = batches(1)
    for epoch in range(2):
        for batch in epochs(epoch):
            seen(batch, 1)
    assert computed == [5, 5, 5, 5] * 2


@pytest.mark.parametrize("state_bytes", [1, branch_batches._STATE_BYTES])
def test_what_nobody_asks_for_is_not_computed(batches, computed, state_bytes):
    assert len(list(batches(state_bytes)(0))) == 4
    assert computed == []


def test_states_are_the_same_to_the_bit_whatever_epoch_comes_first(batches):
    from_the_start, resumed = batches(), batches()
    list(from_the_start(0))
    for batch, other in zip(from_the_start(2), resumed(2), strict=True):
        assert torch.equal(seen(batch, 2)[0], seen(other, 2)[0])
