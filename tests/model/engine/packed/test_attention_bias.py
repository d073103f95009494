import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.engine.execution import Backend, Precision, resolve_execution
from model.engine.packed.attention import no_bias
from model.engine.packed.attention_bias import LongestBias
from model.network.backbones.mpnet import MPNetAdapter

HEADS = 4


@pytest.fixture(scope="module")
def adapter(make_fastbert):
    return make_fastbert("mpnet").adapter


@given(lengths=st.lists(st.integers(1, 48), min_size=1, max_size=6))
def test_a_shorter_texts_bias_is_a_block_of_the_longests(adapter, lengths):
    bias = LongestBias(adapter.attention_bias)
    for length in lengths:
        assert torch.equal(bias(length), adapter.attention_bias(length))


def test_a_bias_is_computed_where_the_weights_are(make_fastbert):
    adapter = make_fastbert("mpnet").adapter
    adapter.base.encoder.relative_attention_bias.to("meta")
    assert adapter.attention_bias(5).device.type == "meta"


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_only_the_longest_is_computed_and_held(lengths):
    computed = []

    def compute(length):
        computed.append(length)
        return torch.zeros(HEADS, length, length)

    bias = LongestBias(compute)
    for length in lengths:
        assert bias(length).shape == (HEADS, length, length)
    records = [length for place, length in enumerate(lengths) if length > max([0, *lengths[:place]])]
    assert computed == records


def test_an_engine_holds_at_most_one(make_fastbert, texts, monkeypatch):
    computed, compute = [], MPNetAdapter.attention_bias

    def spy(adapter, length):
        bias = compute(adapter, length)
        computed.append(weakref.ref(bias))
        return bias

    monkeypatch.setattr(MPNetAdapter, "attention_bias", spy)
    model = make_fastbert("mpnet")
    execution = replace(resolve_execution(Precision.FP32, device="cpu"), backend=Backend.TORCH)
    engine = model.engine(execution, num_cores=2)
    for some in (texts[:1], texts[1:4], texts):
        model.predict(some, engine=engine)
    assert sum(held() is not None for held in computed) == 1 < len(computed)


def test_threads_get_what_they_ask_for(adapter):
    bias, lengths = LongestBias(adapter.attention_bias), [*range(1, 40)] * 4
    with ThreadPoolExecutor(4) as pool:
        for length, found in zip(lengths, pool.map(bias, lengths), strict=True):
            assert torch.equal(found, adapter.attention_bias(length))


def test_most_families_add_nothing(fastbert):
    assert LongestBias(fastbert.adapter.attention_bias)(5) is no_bias(5) is None
