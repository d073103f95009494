import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoints.loading import load_classifier, load_for_finetuning
from model.errors import CheckpointError

finetunable = partial(load_for_finetuning, labels=("a", "b"), seed=0)


@pytest.fixture
def saved(family, make_classifier, tmp_path):
    """A classifier of three layers on disk."""
    model = make_classifier(family, num_layers=3)
    model.save_pretrained(tmp_path)
    return model


def change_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def add_tensors(directory, **tensors):
    path = directory / "model.safetensors"
    save_file(load_file(path) | tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("is_encoder_alone", [False, True], ids=["classifier", "encoder"])
def test_a_network_of_fewer_layers_than_its_weights_is_refused(saved, is_encoder_alone, tmp_path):
    if saved.config.model_type == "albert":
        pytest.skip("its layers share their weights, which do not tell how many there are")
    if is_encoder_alone:
        saved.base_model.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    # Some say besides what kind each layer is of.
    kinds = {"layer_types": settings["layer_types"][:2]} if "layer_types" in settings else {}
    change_config(tmp_path, **kinds, **{"n_layers" if "n_layers" in settings else "num_hidden_layers": 2})
    for load in (finetunable,) if is_encoder_alone else (finetunable, load_classifier):
        with pytest.raises(
            CheckpointError, match=r"weights that its config\.json does not name, '.*layers?\.2\."
        ):
            load(tmp_path)


def test_tensors_that_change_no_answer_are_accepted(saved, tmp_path):
    prefix, before = saved.base_model_prefix, load_classifier(tmp_path).state_dict()
    add_tensors(
        tmp_path,
        **{
            f"{prefix}.embeddings.position_ids": torch.arange(50)[None],
            f"{prefix}.embeddings.token_type_ids": torch.zeros(1, 50, dtype=torch.long),
            f"{prefix}.pooler.of.old.weight": torch.ones(2, 2),
            "cls.predictions.transform.dense.weight": torch.ones(2, 2),
            "cls.seq_relationship.weight": torch.ones(2, 2),
            "lm_head.dense.weight": torch.ones(2, 2),
        },
    )
    after = load_classifier(tmp_path).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    finetunable(tmp_path)


def test_weights_inside_the_layers_are_not_left_out(saved, tmp_path):
    name = f"{saved.base_model_prefix}.embeddings.of_tasks.weight"
    add_tensors(tmp_path, **{name: torch.ones(2, 2)})
    with pytest.raises(CheckpointError, match=f"has 1 weights that its config.json does not name, '{name}'"):
        load_classifier(tmp_path)
