"""The layer sweep against a plain early exit: one text alone, all layers, stop at the first sure one."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.answers.task import Task
from model.engine.engine import Engine
from model.engine.execution import Backend
from model.errors import CheckpointError
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.exits.predictions import probabilities
from model.tokens.tokenization import tokenize
from tests.plain_early_exit import plain_exits, plain_uncertainty

NUM_LAYERS = 4
ROWS = st.lists(st.integers(0, 35), max_size=40)
THRESHOLD = st.floats(0, 1) | st.sampled_from([0.0, 0.3, 0.6, 1.0, 2.0])
POLICY = st.tuples(*[THRESHOLD] * (NUM_LAYERS - 1)).map(
    lambda thresholds: ExitPolicy(thresholds=thresholds, name="drawn")
)
SIZES = st.fixed_dictionaries({"token_budget": st.integers(1, 400), "chunk_tokens": st.integers(1, 800)})


@dataclass
class Pool:
    """Texts and pairs of texts, and what each exit answers to each of them alone."""

    texts: list[str]
    pairs: list[str]
    exits: np.ndarray  # (rows, num_layers, num_labels)
    uncertainty: np.ndarray  # (rows, num_layers)

    def exit_layers(self, policy: ExitPolicy) -> np.ndarray:
        layers = []
        for uncertainty in self.uncertainty:
            sure = [
                layer for layer in range(1, NUM_LAYERS) if uncertainty[layer - 1] < policy.threshold(layer)
            ]
            layers.append(sure[0] if sure else NUM_LAYERS)
        return np.array(layers)

    def is_clear(self, rows: list[int], policy: ExitPolicy) -> bool:
        """Whether no rounding error of a sum in another order can change a decision."""
        thresholds = np.array(policy.thresholds)
        margins = np.abs(self.uncertainty[rows, :-1] - thresholds)
        # At a threshold of 0 nothing leaves, however sure.
        return bool((margins[:, thresholds > 0] > 1e-4).all())


@pytest.fixture(scope="module")
def pool(fastbert, texts):
    """Rows 0 to 17 single texts with an empty second one, 18 to 35 pairs."""
    first, second = [*texts, *texts], [*[""] * len(texts), *texts[::-1]]
    exits = np.stack([plain_exits(fastbert, *both) for both in zip(first, second, strict=True)])
    return Pool(texts=first, pairs=second, exits=exits, uncertainty=plain_uncertainty(exits))


@pytest.fixture(scope="module")
def predict(fastbert, pool, make_engine):
    engines = {backend: make_engine(fastbert, backend=backend) for backend in Backend}

    def run(
        rows, policy, *, token_budget=1024, chunk_tokens=1 << 16, full_depth_mask=None, backend=Backend.TORCH
    ):
        engine = engines[backend]
        engine.memory_budget.tokens, engine.chunk_tokens = token_budget, chunk_tokens
        tokenized = tokenize(
            fastbert.tokenizer,
            [pool.texts[row] for row in rows],
            [pool.pairs[row] for row in rows],
            max_length=fastbert.config.max_length,
        )
        return predict_tokenized(engine, tokenized, policy, full_depth_mask=full_depth_mask)

    return run


def speed(value):
    return ExitPolicy.from_speed(value, num_layers=NUM_LAYERS)


@pytest.fixture(scope="module")
def mixed(pool):
    """A speed at which texts leave at every layer."""
    policy = speed(0.55)
    assert set(pool.exit_layers(policy)) == {1, 2, 3, 4}
    assert pool.is_clear(list(range(36)), policy)
    return policy


@pytest.fixture
def steps(monkeypatch):
    """What engines were made to run, as (step, layer, texts); emptied by who looks."""
    done = []

    def watch(step, layer_of):
        run = getattr(Engine, step)

        def watched(engine, *inputs):
            done.append((step, layer_of(inputs), len(inputs[-1].lengths)))
            return run(engine, *inputs)

        monkeypatch.setattr(Engine, step, watched)

    watch("run_layer", lambda inputs: inputs[0])
    watch("branch_features", lambda inputs: inputs[0])
    watch("run_last_layer", lambda _: NUM_LAYERS)
    return done


def layers_of(steps, step):
    return {layer for name, layer, _ in steps if name == step}


@settings(max_examples=200)
@given(rows=ROWS, policy=POLICY, sizes=SIZES, backend=st.sampled_from(Backend), data=st.data())
def test_equals_the_plain_early_exit(predict, pool, rows, policy, sizes, backend, data):
    assume(pool.is_clear(rows, policy))
    full_depth_mask = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool
    )
    result = predict(rows, policy, full_depth_mask=full_depth_mask, backend=backend, **sizes)
    layers = pool.exit_layers(policy)[rows]
    assert len(result) == len(rows)
    assert result.exit_layer.tolist() == layers.tolist()
    np.testing.assert_allclose(result.logits, pool.exits[rows, layers - 1], rtol=0, atol=2e-5)
    np.testing.assert_allclose(result.uncertainty, pool.uncertainty[rows, layers - 1], rtol=0, atol=2e-5)
    full = np.where((full_depth_mask | (layers == NUM_LAYERS))[:, None], pool.exits[rows, -1], np.nan)
    np.testing.assert_allclose(result.full_depth_logits, full, rtol=0, atol=2e-5)
    run_layers = np.where(full_depth_mask, NUM_LAYERS, layers)
    assert result.num_real_tokens == (run_layers * result.num_tokens).sum()
    if backend is Backend.TORCH:
        assert result.num_processed_tokens == result.num_real_tokens
    assert result.num_processed_tokens >= result.num_real_tokens


@given(rows=ROWS.filter(len), policy=POLICY, sizes=SIZES)
def test_a_row_does_not_depend_on_its_batch(predict, pool, rows, policy, sizes):
    assume(pool.is_clear(rows, policy))
    together, alone = predict(rows, policy, **sizes), predict(rows[-1:], policy)
    np.testing.assert_allclose(together.logits[-1:], alone.logits, rtol=0, atol=2e-5)
    assert together.exit_layer[-1] == alone.exit_layer[0]
    assert together.num_tokens[-1] == alone.num_tokens[0]


@given(rows=ROWS, sizes=SIZES)
def test_equal_rows_get_equal_answers(predict, mixed, rows, sizes):
    result = predict([*rows, *rows], mixed, **sizes)
    half = len(rows)
    np.testing.assert_allclose(result.logits[:half], result.logits[half:], rtol=0, atol=2e-5)
    assert result.exit_layer[:half].tolist() == result.exit_layer[half:].tolist()


def test_the_same_call_gives_the_same_bits(predict, mixed):
    first, second = (predict(list(range(36)), mixed) for _ in range(2))
    np.testing.assert_array_equal(first.logits, second.logits)
    np.testing.assert_array_equal(first.uncertainty, second.uncertainty)


@given(rows=ROWS, slow=st.floats(0, 1), fast=st.floats(0, 1))
def test_no_text_stays_longer_at_a_higher_speed(predict, rows, slow, fast):
    slow, fast = sorted((slow, fast))
    assert (predict(rows, speed(fast)).exit_layer <= predict(rows, speed(slow)).exit_layer).all()


@pytest.mark.parametrize("layer", range(1, NUM_LAYERS + 1))
def test_all_leave_at_a_fixed_exit_layer(predict, pool, steps, layer):
    rows = list(range(36))
    result = predict(rows, ExitPolicy.from_exit_layer(layer, num_layers=NUM_LAYERS))
    assert result.exit_layer.tolist() == [layer] * 36
    np.testing.assert_allclose(result.logits, pool.exits[:, layer - 1], rtol=0, atol=2e-5)
    is_last = layer == NUM_LAYERS
    assert layers_of(steps, "run_layer") == set(range(1, layer if is_last else layer + 1))
    assert layers_of(steps, "branch_features") == (set() if is_last else {layer})
    assert layers_of(steps, "run_last_layer") == ({NUM_LAYERS} if is_last else set())


def test_speed_0_runs_no_branch(predict, pool, steps):
    result = predict(list(range(36)), speed(0))
    assert layers_of(steps, "branch_features") == set()
    np.testing.assert_allclose(result.logits, pool.exits[:, -1], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(result.full_depth_logits, result.logits)


def test_speed_1_runs_the_first_layer_only(predict, pool, steps):
    assert pool.uncertainty[:, 0].max() < 1
    result = predict(list(range(36)), speed(1))
    assert {(step, layer) for step, layer, _ in steps} == {("run_layer", 1), ("branch_features", 1)}
    assert set(result.exit_layer) == {1}
    assert np.isnan(result.full_depth_logits).all()


def test_a_layer_left_out_by_the_policy_runs_no_branch(predict, pool, steps):
    policy = ExitPolicy(thresholds=(0.52, 0.0, 0.72), name="with a hole")
    rows = list(range(36))
    result = predict(rows, policy)
    assert layers_of(steps, "branch_features") == {1, 3}
    assert pool.is_clear(rows, policy)
    assert result.exit_layer.tolist() == pool.exit_layers(policy).tolist()
    assert set(result.exit_layer) == {1, 3, 4}


def test_only_survivors_go_on(predict, pool, mixed, steps):
    predict(list(range(36)), mixed, token_budget=60)
    for layer in range(1, NUM_LAYERS + 1):
        left = int((pool.exit_layers(mixed) >= layer).sum())
        run = "run_last_layer" if layer == NUM_LAYERS else "run_layer"
        assert sum(rows for step, index, rows in steps if (step, index) == (run, layer)) == left


def test_being_shadowed_changes_no_answer(predict, mixed, pool):
    rows = list(range(36))
    full_depth_mask = np.arange(36) % 3 == 0
    plain, shadowed = predict(rows, mixed), predict(rows, mixed, full_depth_mask=full_depth_mask)
    assert plain.exit_layer.tolist() == shadowed.exit_layer.tolist()
    np.testing.assert_allclose(plain.logits, shadowed.logits, rtol=0, atol=2e-5)
    np.testing.assert_allclose(
        shadowed.full_depth_logits[full_depth_mask], pool.exits[full_depth_mask, -1], rtol=0, atol=1e-5
    )
    early = shadowed.exit_layer < NUM_LAYERS
    assert (early & full_depth_mask).any()
    assert (np.isnan(shadowed.full_depth_logits).all(axis=1) == (early & ~full_depth_mask)).all()


def test_a_text_leaves_strictly_below_the_threshold(predict):
    rows = [3]
    uncertainty = predict(rows, ExitPolicy.from_exit_layer(1, num_layers=NUM_LAYERS)).uncertainty[0]
    at = ExitPolicy(thresholds=(float(uncertainty), 0.0, 0.0), name="at")
    above = ExitPolicy(thresholds=(float(np.nextafter(uncertainty, np.float32(2))), 0.0, 0.0), name="above")
    assert predict(rows, at).exit_layer.tolist() == [NUM_LAYERS]
    assert predict(rows, above).exit_layer.tolist() == [1]


def test_the_uncertainty_is_that_of_the_exit_taken(predict, mixed):
    result = predict(list(range(36)), mixed)
    np.testing.assert_allclose(result.uncertainty, plain_uncertainty(result.logits), rtol=0, atol=1e-6)
    assert (result.uncertainty[result.exit_layer < NUM_LAYERS] < 0.55).all()


def test_answers_name_the_largest_probability(fastbert, predict, mixed):
    result = predict(list(range(36)), mixed)
    assert result.probabilities.dtype == np.float32
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        np.log(result.probabilities[:, 1:] / result.probabilities[:, :1]),
        result.logits[:, 1:] - result.logits[:, :1],
        atol=1e-4,
    )
    assert (result.label_ids == result.probabilities.argmax(axis=1)).all()
    assert result.predictions == [fastbert.labels[index] for index in result.label_ids]
    assert len(set(result.predictions)) > 1


def test_columns_have_the_stated_types(predict, mixed):
    for rows in ([], [0, 20]):
        result = predict(rows, mixed)
        assert result.logits.shape == result.full_depth_logits.shape == (len(rows), 3)
        assert result.logits.dtype == result.full_depth_logits.dtype == result.uncertainty.dtype == np.float32
        assert result.exit_layer.dtype == np.int16
        assert result.num_tokens.dtype == np.int64
        assert result.truncated.dtype == np.bool_


def test_huge_logits_overflow_nothing(make_fastbert, texts):
    model = make_fastbert("bert")
    with torch.no_grad():
        for branch in model.branches:
            branch.classifier.weight.mul_(1e30)
    result = model.predict(texts, speed=0.5)
    assert np.isfinite(result.logits).all()
    assert ((result.uncertainty >= 0) & (result.uncertainty <= 1)).all()
    assert (probabilities(result.logits, Task.ONE_LABEL).max(axis=1) == 1).all()


@pytest.mark.parametrize("damage", [torch.nan, torch.inf])
def test_a_damaged_model_is_an_error_that_counts_the_texts(make_fastbert, texts, damage):
    model = make_fastbert("bert")
    with torch.no_grad():
        model.backbone.classifier.bias[1] = damage
    with pytest.raises(CheckpointError, match=f"{len(texts)} of {len(texts)} texts"):
        model.predict(texts)


@pytest.mark.parametrize("damage", [torch.nan, torch.inf])
@pytest.mark.parametrize("task", [Task.ONE_LABEL, Task.LABEL_SET])
def test_a_text_is_not_answered_by_a_damaged_branch(make_fastbert, texts, damage, task):
    model, whole = (make_fastbert("bert", problem_type=str(task)) for _ in range(2))
    with torch.no_grad():
        model.branches[0].classifier.bias[1] = damage
    result = model.predict(texts, speed=0.5)
    expected = whole.predict(texts, policy=ExitPolicy(thresholds=(0.0, 0.5, 0.5), name="without the first"))
    assert result.exit_layer.tolist() == expected.exit_layer.tolist()
    np.testing.assert_allclose(result.logits, expected.logits, rtol=0, atol=2e-5)
