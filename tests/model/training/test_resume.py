import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from model.errors import ArtifactError
from model.training.resume import TrainingState
from tests.model.training.small_network import INPUTS, Network, config, fit, shuffled


class KilledError(Exception):
    """Stands in for the end of a process."""


STEPS_PER_EPOCH = 6  # 22 rows, four at a time


def run_network(state=None, *, kill_at=None, seed=0):
    """Train a fresh network for 3 epochs, or until step `kill_at` is to be taken."""
    module, taken = Network(), []

    def loss(rows):
        if kill_at is not None and len(taken) == kill_at:
            raise KilledError
        taken.append(rows)
        return module(INPUTS[rows]).square().mean()

    fit(
        module,
        config(epochs=3, seed=seed, learning_rate=0.05),
        loss,
        steps_per_epoch=STEPS_PER_EPOCH,
        batches=shuffled,
        state=state,
    )
    return module.state_dict(), len(taken)


@settings(max_examples=40)
@given(kills=st.lists(st.integers(0, 17), min_size=1, max_size=3), save_every=st.integers(1, 20))
def test_a_run_killed_at_any_step_ends_with_the_same_bits(kills, save_every):
    expected, _ = run_network()
    with TemporaryDirectory() as directory:
        state = TrainingState(path=Path(directory) / "state.safetensors", job="a job", save_every=save_every)
        for kill in kills:
            try:
                run_network(state, kill_at=kill)
            except KilledError:
                continue
        resumed, _ = run_network(state)
    assert resumed.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(resumed[name], value), name


@pytest.mark.parametrize(
    ("save_every", "kill_at", "lost"), [(4, 3, 3), (4, 4, 0), (4, 5, 1), (100, 5, 5), (100, 6, 0), (4, 17, 1)]
)
def test_what_was_saved_is_not_trained_again(save_every, kill_at, lost, tmp_path):
    state = TrainingState(path=tmp_path / "state.safetensors", job="a job", save_every=save_every)
    with pytest.raises(KilledError):
        run_network(state, kill_at=kill_at)
    _, taken = run_network(state)
    assert taken == 18 - kill_at + lost


def test_a_finished_run_is_not_trained_again(tmp_path):
    state = TrainingState(path=tmp_path / "state.safetensors", job="a job")
    finished, _ = run_network(state)
    again, taken = run_network(state)
    assert taken == 0
    assert all(torch.equal(again[name], value) for name, value in finished.items())


def test_the_seed_decides_the_dropout_whatever_the_callers_is():
    first, _ = run_network(seed=1)
    torch.manual_seed(999)
    again, _ = run_network(seed=1)
    other, _ = run_network(seed=2)
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert not all(torch.equal(other[name], value) for name, value in first.items())


def test_a_state_is_a_safetensors_file_that_names_its_job(tmp_path):
    state = TrainingState(path=tmp_path / "state.safetensors", job=json.dumps({"epochs": 3}))
    assert state.saved_job() is None
    run_network(state)
    assert json.loads(state.saved_job()) == {"epochs": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    with safe_open(state.path, framework="pt") as file:
        assert file.metadata()["step"] == "18"


def test_a_kill_while_saving_leaves_the_state_before(tmp_path, monkeypatch):
    state = TrainingState(path=tmp_path / "state.safetensors", job="a job", save_every=4)
    with pytest.raises(KilledError):
        run_network(state, kill_at=5)
    before = state.path.read_bytes()

    def half_written(_, path, **__):
        Path(path).write_bytes(b"half")
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("model.training.resume.save_file", half_written)
        with pytest.raises(KilledError):
            run_network(state)
    assert state.path.read_bytes() == before
    expected, _ = run_network()
    resumed, taken = run_network(state)
    assert taken == 14
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


def test_a_state_of_another_job_is_refused(tmp_path):
    state = TrainingState(path=tmp_path / "state.safetensors", job="a job", save_every=4)
    with pytest.raises(KilledError):
        run_network(state, kill_at=5)
    before = state.path.read_bytes()
    with pytest.raises(ArtifactError, match=r"state\.safetensors' is the state of another training"):
        run_network(replace(state, job="another"))
    assert state.path.read_bytes() == before


def test_weights_that_are_tied_are_saved_and_come_back(tmp_path: Path):
    one, two = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    two.weight = one.weight
    both = torch.nn.ModuleList([one, two])
    state = TrainingState(path=tmp_path / "state", job="a job")
    state.save(both, {}, 7)
    saved = state.read()
    assert saved is not None
    assert saved.weights.keys() == both.state_dict().keys()
    assert all(torch.equal(saved.weights[name], value) for name, value in both.state_dict().items())
