import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.engine.engine import Engine
from model.engine.execution import Backend, Precision, resolve_execution
from model.engine.fused_linear import ROW_MULTIPLE
from model.engine.packed.block import PackedBlock
from model.exits.exit_logits import all_exit_logits
from model.exits.policy import ExitPolicy
from model.tokens.packing import micro_batches
from model.tokens.tokenization import tokenize

# Of these no packed blocks are made.
_PLAIN_FAMILIES = ("mobilebert", "deberta-v2, convolution", "xlnet")


@pytest.fixture
def model(make_fastbert):
    return make_fastbert("bert")


@pytest.fixture
def tokenized(model, texts):
    return tokenize(model.tokenizer, texts, max_length=48)


@pytest.fixture(scope="module")
def engines(make_fastbert):
    """Engines by the number of their cores."""
    model = make_fastbert("bert")
    execution = resolve_execution(Precision.FP32, device="cpu")
    return {count: model.engine(execution, num_cores=count) for count in (1, 3)}


def test_a_family_of_packed_blocks_is_run_by_the_backend_asked_for(
    family, backend, make_fastbert, make_engine
):
    found = make_engine(make_fastbert(family), backend=backend).execution.backend
    is_plain = family.startswith(_PLAIN_FAMILIES)
    assert found is (Backend.HUGGING_FACE if is_plain else backend)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_an_engine_is_in_the_precision_and_the_model_stays_as_it_is(model, precision, snapshot_of):
    model.train()
    before = snapshot_of(model)
    engine = model.engine(resolve_execution(precision, device="cpu"))
    assert engine.execution.precision is precision
    assert engine.adapter.model.dtype is engine.execution.dtype
    assert snapshot_of(model) == before


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_a_model_in_training_answers_through_its_engine_as_in_eval_mode(model, texts, precision):
    execution = resolve_execution(precision, device="cpu")
    expected = model.predict(texts, speed=0.55, engine=model.engine(execution)).logits
    engine = model.train().engine(execution)
    np.testing.assert_array_equal(model.predict(texts, speed=0.55, engine=engine).logits, expected)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_other_branches_on_the_same_backbone_answer_as_an_engine_of_their_own(
    model, make_fastbert, texts, backend, precision, snapshot_of
):
    other = make_fastbert("bert", seed=5)
    other.branches.load_state_dict({name: -value for name, value in model.branches.state_dict().items()})
    other.backbone = model.backbone
    before = snapshot_of(other)
    execution = replace(resolve_execution(precision, device="cpu"), backend=backend)
    engine = model.engine(execution)
    tokenized = tokenize(model.tokenizer, texts, max_length=48)
    first = all_exit_logits(engine, tokenized)
    found = all_exit_logits(engine.with_branches(other.branches), tokenized)
    np.testing.assert_array_equal(found, all_exit_logits(other.engine(execution), tokenized))
    assert not (found[:, :-1] == first[:, :-1]).any()
    np.testing.assert_array_equal(all_exit_logits(engine, tokenized), first)
    assert snapshot_of(other) == before


def test_other_branches_pack_no_layer_again(model, make_engine, monkeypatch):
    engine = make_engine(model)
    monkeypatch.setattr("model.engine.layer_runner.pack_layers", None)
    assert engine.with_branches(model.branches).adapter is engine.adapter


def test_a_classifier_without_branches_is_run_as_well(model, texts, hugging_face_logits):
    execution = resolve_execution(Precision.FP32, device="cpu")
    engine = Engine.for_classifier(model.backbone, execution, pad_token_id=0)
    assert engine.num_layers == 4
    assert engine.hidden_size == 32
    assert engine.labels == ("label 0", "label 1", "label 2")
    found = model.predict(texts, engine=engine).logits
    expected = hugging_face_logits(model.backbone, model.tokenizer, texts)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_cores", [1, 2, 3])
def test_answers_are_the_same_bits_on_any_number_of_cores(model, texts, num_cores):
    execution = resolve_execution(Precision.FP32, device="cpu")
    one, several = (
        model.predict(texts * 3, speed=0.55, engine=model.engine(execution, num_cores=count))
        for count in (1, num_cores)
    )
    np.testing.assert_array_equal(one.logits, several.logits)
    np.testing.assert_array_equal(one.exit_layer, several.exit_layer)


def test_packed_layers_that_are_wrong_are_not_used_and_it_is_told(
    model, texts, make_engine, monkeypatch, caplog, hugging_face_logits
):
    right = PackedBlock._feed
    monkeypatch.setattr(PackedBlock, "_feed", lambda block, *inputs: right(block, *inputs) * 1.01)
    with caplog.at_level(logging.WARNING):
        engine = make_engine(model, backend=Backend.TORCH)
    assert engine.execution.backend is Backend.HUGGING_FACE
    assert "plain layers are used, since layer 1 computed by torch is off by 1.0e-02" in caplog.text
    expected = hugging_face_logits(model.backbone, model.tokenizer, texts)
    np.testing.assert_allclose(model.predict(texts, engine=engine).logits, expected, rtol=0, atol=1e-5)


def test_an_activation_that_no_kernel_knows_is_run_by_itself(
    make_fastbert, make_engine, backend, texts, hugging_face_logits
):
    for activation in ("silu", "gelu_new", "gelu_fast", "relu"):
        model = make_fastbert("bert", hidden_act=activation)
        engine = make_engine(model, backend=backend)
        assert engine.execution.backend is backend
        expected = hugging_face_logits(model.backbone, model.tokenizer, texts)
        np.testing.assert_allclose(model.predict(texts, engine=engine).logits, expected, rtol=0, atol=1e-5)


def test_what_does_not_fit_into_memory_is_run_in_halves(model, texts, make_engine, monkeypatch, caplog):
    policy = ExitPolicy.from_speed(0.55, num_layers=4)
    engine = make_engine(model, backend=Backend.TORCH, token_budget=2000)
    expected = model.predict(texts, policy=policy, engine=engine)
    limit, run_layer = 90, engine.run_layer

    def scarce(layer, states, batch):
        if batch.num_real_tokens > limit:
            raise torch.OutOfMemoryError
        return run_layer(layer, states, batch)

    monkeypatch.setattr(engine, "run_layer", scarce)
    found = model.predict(texts, policy=policy, engine=engine)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=2e-5)
    assert found.exit_layer.tolist() == expected.exit_layer.tolist()
    assert engine.memory_budget.tokens < 200
    assert f"micro-batches of {engine.memory_budget.tokens} tokens from here on" in caplog.text


def test_a_text_that_does_not_fit_alone_is_an_error(model, make_engine, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    engine = make_engine(model)
    monkeypatch.setattr(engine, "run_layer", full)
    with pytest.raises(torch.OutOfMemoryError):
        model.predict(["a", "b"], engine=engine)


def test_embeddings_and_layers_are_those_of_hugging_face(model, make_engine, tokenized, backend):
    ordered = tokenized.take(np.argsort(-tokenized.lengths, kind="stable"))
    engine = make_engine(model, backend=backend)
    (batch,) = micro_batches(ordered.lengths, 10_000)
    attention_mask = batch.attention_mask(torch.device("cpu"))
    with torch.no_grad():
        output = model.backbone(
            batch.pad(torch.from_numpy(ordered.input_ids)),
            attention_mask=attention_mask,
            output_hidden_states=True,
        )
        states = engine.embed(ordered, batch)
        torch.testing.assert_close(states, output.hidden_states[0][attention_mask], rtol=0, atol=1e-5)
        for layer in range(1, 4):
            states = engine.run_layer(layer, states, batch)
            expected = output.hidden_states[layer][attention_mask]
            torch.testing.assert_close(states, expected, rtol=0, atol=1e-5)
        first = engine.run_last_layer(states, batch)
    torch.testing.assert_close(first, output.hidden_states[4][:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(engine.classify(first), output.logits, rtol=0, atol=1e-5)


def test_a_backend_counts_the_padding_that_it_needs(model, make_engine, backend, tokenized):
    (batch,) = micro_batches(-np.sort(-tokenized.lengths), 10_000)
    total = int(tokenized.lengths.sum())
    assert (
        make_engine(model, backend=backend).num_processed_tokens(batch)
        == {
            Backend.HUGGING_FACE: len(tokenized) * tokenized.lengths.max(),
            Backend.TORCH: total,
            Backend.ONEDNN: -(-total // ROW_MULTIPLE) * ROW_MULTIPLE,
        }[backend]
    )


@pytest.mark.parametrize("num_cores", [1, 3])
@given(
    lengths=st.lists(st.integers(1, 9), max_size=12).map(lambda each: np.array(each, dtype=np.int64)),
    data=st.data(),
)
def test_keep_rows_drops_the_tokens_of_the_others(engines, num_cores, lengths, data):
    size = len(lengths)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=bool)
    packed = torch.arange(float(lengths.sum()))[:, None].expand(-1, 32).contiguous()
    expected = [part for part, kept in zip(packed.split(lengths.tolist()), keep, strict=True) if kept]
    kept = engines[num_cores].compact(packed, lengths, keep)
    expected = torch.cat([*expected, packed[:0]])
    torch.testing.assert_close(kept[: len(expected)], expected, rtol=0, atol=0)
    assert not kept[len(expected) :].any()


@pytest.mark.parametrize("rows", [[3], [200, 90, 1, 300, 5], [1] * 700])
def test_branches_answer_in_groups_as_they_do_at_once(engines, rows):
    generator = torch.Generator().manual_seed(len(rows))
    width = len(engines[1].branch_features(1, *states_of_a_text(engines[1]))[0])
    features = torch.randn(sum(rows), width, generator=generator)
    for engine in engines.values():
        found = engine.run_on_driver_thread(partial(engine.map_branch_logits, 1, features.split(rows)))
        torch.testing.assert_close(found, engine.branch_logits(1, features), rtol=0, atol=1e-5)


def states_of_a_text(engine):
    """Return states of three tokens, and the micro-batch that they are."""
    states = engine.allocate_states(3)
    states[:3] = torch.randn(3, engine.hidden_size)
    (batch,) = micro_batches(np.array([3]), 8)
    return engine.slice_states(states, batch), batch
