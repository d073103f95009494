import pytest
from transformers import AutoConfig, BertConfig

from model.network.branch_design import BranchDesign
from model.network.branches.paper import PaperBranch
from model.network.branches.registry import make_branch
from model.network.config import FastBertConfig


@pytest.fixture
def config(make_classifier, family):
    return FastBertConfig.from_backbone(make_classifier(family, num_labels=12).config, max_length=33)


@pytest.mark.parametrize(("design", "sizes"), [("paper", (128, 2)), ("pooling", (384, 4))])
def test_every_design_has_sizes_of_its_own(design, sizes):
    config = FastBertConfig.from_backbone(BertConfig(), max_length=8, branch_design=BranchDesign(design))
    assert (config.branch_design, config.branch_size, config.branch_heads) == (design, *sizes)


def test_a_checkpoint_that_does_not_say_has_the_papers_branches():
    config = FastBertConfig(backbone_config=BertConfig(num_labels=3))
    assert isinstance(make_branch(config), PaperBranch)


def test_a_design_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'deep' is not a valid BranchDesign"):
        make_branch(FastBertConfig(backbone_config=BertConfig(), branch_design="deep"))


def test_is_read_as_it_was_written(config, tmp_path):
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, FastBertConfig)
    assert type(loaded.backbone_config) is type(config.backbone_config)
    assert loaded.max_length == 33
    assert (loaded.branch_design, loaded.branch_size, loaded.branch_heads) == ("pooling", 384, 4)
    assert loaded.backbone_config.hidden_size == 32
    assert loaded.backbone_config.num_hidden_layers == 4


def test_labels_are_the_backbones_in_their_order(config, tmp_path):
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    for known in (config, loaded, loaded.backbone_config):
        assert known.num_labels == 12
        # Not in the order of the strings "0", "1", "10", "11", "2".
        assert list(known.id2label.items()) == [(index, f"label {index}") for index in range(12)]
        assert known.label2id["label 11"] == 11


def test_changing_a_fastberts_labels_leaves_its_backbones_alone():
    backbone = BertConfig(num_labels=3)
    config = FastBertConfig.from_backbone(backbone, max_length=8)
    config.id2label[0] = "changed"
    assert backbone.id2label[0] == "LABEL_0"


def test_settings_of_a_wrong_type_are_refused():
    with pytest.raises(Exception, match="branch_size"):
        FastBertConfig(backbone_config=BertConfig(), branch_size="wide")
