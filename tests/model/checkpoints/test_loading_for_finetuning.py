import pytest
import torch

from model.checkpoints.loading import label_names, load_classifier, load_for_finetuning
from model.errors import CheckpointError
from tests.model.checkpoints.changed_checkpoints import backbone_only, change_tensors


@backbone_only
def test_a_head_for_other_labels_is_made_and_the_encoder_kept(directory):
    before = load_classifier(directory).bert.state_dict()
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    one, same, other = (load_for_finetuning(directory, ("a", "b"), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert label_names(one.config) == ("a", "b")
    assert one.config.problem_type == "single_label_classification"
    assert one.classifier.weight.shape == (2, 32)
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert all(torch.equal(value, before[name]) for name, value in one.bert.state_dict().items())


@backbone_only
def test_a_pooler_may_be_missing_of_what_is_fine_tuned(directory):
    def drop(tensors):
        for name in [name for name in tensors if "pooler" in name or "classifier" in name]:
            del tensors[name]

    change_tensors(directory, drop)
    assert load_for_finetuning(directory, ("a", "b"), seed=0).num_labels == 2


@backbone_only
@pytest.mark.parametrize("name", ["bert.encoder.layer.1.intermediate.dense.weight", "bert.pooler.dense.bias"])
def test_an_encoder_of_another_shape_is_not_made_up(directory, name):
    change_tensors(directory, lambda tensors: tensors.update({name: torch.cat([tensors[name]] * 2)}))
    with pytest.raises(CheckpointError, match=f"is incomplete: 1 tensors mismatched, '{name}' among them"):
        load_for_finetuning(directory, ("a", "b"), seed=0)


@backbone_only
def test_an_encoder_without_a_tensor_is_not_made_up(directory):
    name = "bert.embeddings.word_embeddings.weight"
    change_tensors(directory, lambda tensors: tensors.pop(name))
    with pytest.raises(CheckpointError, match=f"is incomplete: 1 tensors missing, '{name}' among them"):
        load_for_finetuning(directory, ("a", "b"), seed=0)


@backbone_only
@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_truncated_encoder_is_not_made_up(directory, kept):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cannot be loaded: ") as caught:
        load_for_finetuning(directory, ("a", "b"), seed=0)
    assert "\n" not in str(caught.value)
