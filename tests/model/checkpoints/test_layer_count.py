import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from model.checkpoints.layer_count import count_layers, most_repeated


def test_the_layers_of_every_family_are_found(family, make_classifier):
    model = make_classifier(family, num_layers=4)
    # An ALBERT's are fewer: they share their weights.
    assert most_repeated(model.state_dict()) >= (4 if "albert" not in family else 1)


@given(st.integers(1, 30), st.integers(1, 3))
def test_a_module_is_counted_once_whatever_is_in_it(num_layers, num_tensors):
    names = [f"a1.layer.{i}.{part}" for i in range(num_layers) for part in "xyz"[:num_tensors]]
    assert most_repeated([*names, "pooler.weight"]) == num_layers


@pytest.mark.parametrize("directory", ["fastbert", "backbone"], indirect=True)
def test_weights_in_pieces_are_counted_together(directory):
    assert count_layers(directory) == 4
    tensors = load_file(directory / "model.safetensors")
    for place in (1, 2):
        half = {name: tensor for name, tensor in tensors.items() if (".layer.3." in name) == (place == 1)}
        save_file(half, directory / f"model-0000{place}-of-00002.safetensors")
    (directory / "model.safetensors").unlink()
    assert count_layers(directory) == 4


@pytest.mark.parametrize("directory", ["backbone"], indirect=True)
def test_other_tensors_beside_the_model_do_not_count(directory):
    shutil.copy(directory / "model.safetensors", directory / "training_state.safetensors")
    (directory / "model.safetensors").unlink()
    assert count_layers(directory) is None
