"""However many processes train together, they come to what one comes to; here they are threads."""

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from model.engine.execution import Precision, resolve_execution
from model.errors import ItemError, TrainingError
from model.exits.teacher import Teacher
from model.network.branch_design import BranchDesign
from model.training import branch_batches, branch_learners
from model.training.branches import backbone_engine, train_branches
from model.training.distillation_config import DistillationConfig
from model.training.ranks import ONE_PROCESS, GroupRanks, sum_gradients
from model.training.resume import TrainingState
from model.training.soft_labelled_texts import SoftLabelledTexts, concatenate
from tests.model.training.thread_ranks import run_ranks

FP32 = resolve_execution(Precision.FP32, device="cpu")
STEPS_PER_EPOCH = 3  # 20 texts, seven at a time


def config(**options):
    return DistillationConfig(**{"epochs": 3, "learning_rate": 3e-3, "batch_size": 7, **options})


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    """Judge after every epoch, few as its steps are."""
    monkeypatch.setattr(branch_learners, "_SHORTEST_ROUND", STEPS_PER_EPOCH)


@pytest.fixture
def model(make_fastbert):
    return make_fastbert("bert")


@pytest.fixture
def labels(model, texts):
    teacher = Teacher.of(deepcopy(model.backbone), model.tokenizer, FP32)
    once = SoftLabelledTexts.from_teacher(teacher, texts, max_length=model.config.max_length)
    # Two of them stand there twice.
    return concatenate([once, once.take([3, 8])])


def train(model, labels, how, ranks, **options):
    """Train a copy of `model`, and return it and the result."""
    own = deepcopy(model)
    engine = backbone_engine(own, FP32)
    return own, train_branches(own, labels, how, engine=engine, ranks=ranks, **options)


def train_together(size, model, labels, how, **options):
    """Train in `size` threads, the first with `options`' state, and return what each came to."""

    def run(ranks):
        state = options.get("state") if ranks.rank == 0 else None
        return train(model, labels, how, ranks, **{**options, "state": state})

    return run_ranks(size, run)


def assert_close(one, other, atol=2e-5):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-4, atol=atol, msg=name)


def assert_equal(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


@pytest.mark.parametrize("size", [2, 7])
@pytest.mark.parametrize("state_bytes", [1, branch_batches._STATE_BYTES], ids=["streamed", "kept"])
def test_some_processes_come_to_what_one_comes_to(model, labels, size, state_bytes, monkeypatch):
    # The last batch of an epoch has six texts, fewer than seven processes.
    monkeypatch.setattr(branch_batches, "_STATE_BYTES", state_bytes)
    one, expected = train(model, labels, config(), ONE_PROCESS, held_out=labels)
    for each, result in train_together(size, model, labels, config(), held_out=labels):
        assert_close(one, each)
        assert [round.step for round in result.rounds] == [round.step for round in expected.rounds]
        assert [b.kl for b in result.branches] == pytest.approx([b.kl for b in expected.branches], rel=1e-4)
        assert [b.train_kl for b in result.branches] == pytest.approx(
            [b.train_kl for b in expected.branches], rel=1e-4
        )


@pytest.mark.parametrize("design", BranchDesign)
def test_every_design_of_a_branch_is_trained_by_all(make_fastbert, labels, design):
    model = make_fastbert("bert", branch_design=design)
    pairs = replace(labels, text_pairs=labels.texts[::-1])
    one, _ = train(model, pairs, config(epochs=1, hard_label_weight=0.5), ONE_PROCESS)
    for each, _ in train_together(2, model, pairs, config(epochs=1, hard_label_weight=0.5)):
        assert_close(one, each)


def test_all_end_alike_when_every_branch_has_converged(model, labels):
    how = config(epochs=None)
    _, expected = train(model, labels, how, ONE_PROCESS, held_out=labels)
    (first, result), *others = train_together(2, model, labels, how, held_out=labels)
    assert all(branch.has_converged for branch in result.branches)
    assert result.epochs == pytest.approx(expected.epochs, rel=0.1)
    for other, found in others:
        assert found == result
        assert_equal(first, other)


def test_each_runs_its_own_texts_through_the_backbone(model, labels, monkeypatch):
    computed = []
    compute = branch_batches.LayerStates
    monkeypatch.setattr(
        branch_batches,
        "LayerStates",
        lambda engine, texts: computed.append(len(texts)) or compute(engine, texts),
    )
    train_together(2, model, labels, config())
    assert computed == [len(labels) // 2] * 2
    computed.clear()
    monkeypatch.setattr(branch_batches, "_STATE_BYTES", 1)
    train_together(2, model, labels, config(epochs=1))
    assert sorted(computed) == [3, 3, 3, 3, 4, 4]


class KilledError(Exception):
    """Stands in for the end of a process."""


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3)])
def test_a_killed_training_goes_on_in_another_number_of_processes(model, labels, tmp_path, before, after):
    state = TrainingState(path=tmp_path / "state.safetensors", job="a job", save_every=2)
    one, expected = train(model, labels, config(), ONE_PROCESS, held_out=labels)

    def on_step(report):
        if report.step == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train_together(before, model, labels, config(), state=state, held_out=labels, on_step=on_step)
    steps = []
    resumed = train_together(
        after, model, labels, config(), state=state, held_out=labels, on_step=lambda r: steps.append(r.step)
    )
    assert sorted(steps) == sorted([5, 6, 7, 8, 9] * after)
    for each, result in resumed:
        assert_close(one, each)
        assert [b.kl for b in result.branches] == pytest.approx([b.kl for b in expected.branches], rel=1e-4)


def test_what_is_not_finite_on_one_of_them_ends_all(model, labels):
    bad = replace(labels, logits=labels.logits.copy())
    bad.logits[4] = float("nan")
    seen = []

    def run(ranks):
        with pytest.raises(TrainingError, match=r"^branch after layer 1: the loss of step \d is nan; lower"):
            train(model, bad, config(), ranks)
        seen.append(ranks.rank)

    run_ranks(2, run)
    assert sorted(seen) == [0, 1]


def test_fewer_held_out_texts_than_processes(model, labels):
    few = labels.take([0, 1])
    _, expected = train(model, labels, config(epochs=1), ONE_PROCESS, held_out=few)
    for _, result in train_together(3, model, labels, config(epochs=1), held_out=few):
        assert [b.kl for b in result.branches] == pytest.approx([b.kl for b in expected.branches], rel=1e-4)


def test_gradients_are_added_up_and_those_who_have_none_get_the_others():
    def run(ranks):
        part = torch.nn.Linear(2, 1)
        if ranks.rank:
            for number, parameter in enumerate(part.parameters(), start=1):
                parameter.grad = torch.full_like(parameter, float(number))
        losses = sum_gradients(ranks, [part], torch.tensor([1.0, ranks.rank]))
        return losses.tolist(), part.weight.grad.tolist(), part.bias.grad.tolist()

    assert run_ranks(3, run) == [([3.0, 3.0], [[2.0, 2.0]], [4.0])] * 3


# -- torch's process group ----------------------------------------------------------------------------


@pytest.fixture
def group(monkeypatch):
    """A group of gloo whose one process is this one."""
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1, timeout=timedelta(seconds=30))
    yield GroupRanks(torch.device("cpu"))
    dist.destroy_process_group()


def test_the_groups_ranks_are_torchs(group):
    assert (group.rank, group.size) == (0, 1)
    tensor = torch.arange(3.0)
    group.sum_(tensor)
    assert tensor.tolist() == [0, 1, 2]
    assert group.from_first({"a": (1, 2.5)}) == {"a": (1, 2.5)}


@pytest.mark.parametrize("operation", ["all_reduce", "broadcast_object_list"])
def test_a_process_that_is_lost_is_one_line(group, operation, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(dist, operation, fail)
    with pytest.raises(ItemError, match=r"^another process of this training has ended, .* `resume`$"):
        group.sum_(torch.ones(1)) if operation == "all_reduce" else group.from_first(1)
