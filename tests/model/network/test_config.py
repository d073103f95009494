import pytest
from transformers import AutoConfig, BertConfig

from model.network.config import FastBertConfig


@pytest.fixture
def config(make_classifier, family):
    return FastBertConfig.from_backbone(make_classifier(family, num_labels=12).config, max_length=33)


def test_is_read_as_it_was_written(config, tmp_path):
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, FastBertConfig)
    assert type(loaded.backbone_config) is type(config.backbone_config)
    assert loaded.max_length == 33
    assert (loaded.branch_size, loaded.branch_heads) == (128, 2)
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
