import pytest
import torch
from torch import nn

from model.network.backbones.registry import SUPPORTED_FAMILIES
from model.training.finetuning.head import begin_at


def fresh(model):
    """As Hugging Face draws a new head: no bias."""
    for part in model.modules():
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
    return model


@pytest.mark.parametrize("family", SUPPORTED_FAMILIES)
def test_a_new_head_answers_what_it_begins_at(family, make_classifier):
    model = fresh(make_classifier(family, num_labels=3))
    with torch.no_grad():
        before = model(input_ids=torch.arange(5, 11).view(2, 3)).logits
        begin_at(model, torch.tensor([-3.0, 0.5, 7.0]))
        after = model(input_ids=torch.arange(5, 11).view(2, 3)).logits
    torch.testing.assert_close(after - before, torch.tensor([[-3.0, 0.5, 7.0]]).expand(2, 3))


def test_a_head_that_has_learnt_stays(make_classifier):
    model = make_classifier("bert", num_labels=3)
    learnt = torch.tensor([0.0, 0.1, 0.0])
    model.classifier.bias.data.copy_(learnt)
    begin_at(model, torch.ones(3))
    assert torch.equal(model.classifier.bias, learnt)


def test_none_changes_nothing(make_classifier):
    model = fresh(make_classifier("bert", num_labels=3))
    begin_at(model, None)
    assert not model.classifier.bias.any()
