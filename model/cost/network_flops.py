"""What a network costs, read off a configuration: its layers, its branches, its classifier."""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PretrainedConfig

from model.checkpoints.foreign import foreign
from model.cost.flops import FlopsModel
from model.network.backbones.adapter import BackboneAdapter
from model.network.backbones.linear_flops import linear_flops
from model.network.backbones.registry import adapter_for
from model.network.branches.branch import Branch
from model.network.branches.registry import make_branch
from model.network.config import FastBertConfig, load_fastbert_config
from model.network.lexical_branch import LexicalBranch, make_lexical_branch
from model.network.part_flops import TextFlops


def flops_model(
    config: PretrainedConfig, branch: Branch | None = None, lexical: LexicalBranch | None = None
) -> FlopsModel:
    """Read off a sequence classifier's configuration what its parts cost; no weights are made.

    Args:
        config: of a supported family; not a FastBERT's, but its backbone's.
        branch: of the kind that follows its layers; None for the paper's.
        lexical: the branch before the first layer; None for none.

    Raises:
        CheckpointError: if the family is not supported.

    >>> from transformers import BertConfig
    >>> base = flops_model(BertConfig())
    >>> base.paper_layer(), base.paper_branch.of_text(128)
    (1811939328, 41975808)
    >>> base.paper_full_depth()
    21785247744
    """
    with torch.device("meta"):
        branch = branch or make_branch(FastBertConfig(backbone_config=config, num_labels=config.num_labels))
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    backbone = adapter_for(model)
    layers = tuple(map(backbone.layer_linears, range(len(backbone.layers))))
    reaches = tuple(map(backbone.attention_reach, range(len(layers))))
    embedding = sum(map(linear_flops, backbone.embedding_modules))
    distinct_layers = sum(linear_flops(layer) for layer in set(backbone.layers))
    return FlopsModel(
        hidden_size=config.hidden_size,
        layer_linears=layers,
        attention=backbone.packed_attention_flops,
        skipped=_skipped_in_last_layer(backbone),
        embedding_linears=embedding,
        head_linears=linear_flops(model) - distinct_layers - embedding,
        num_labels=config.num_labels,
        branch=branch.flops,
        paper_branch=branch.paper_flops,
        lexical=lexical.flops if lexical else None,
        attention_reaches=reaches if set(reaches) != {None} else (),
    )


def fastbert_flops(config: FastBertConfig) -> FlopsModel:
    """Return the same of a FastBERT, its branches as it has them."""
    with torch.device("meta"):
        branch, lexical = make_branch(config), make_lexical_branch(config)
    return flops_model(config.backbone_config, branch, lexical)


def checkpoint_flops(directory: Path) -> FlopsModel:
    """Return the same of the FastBERT in `directory`, of whose weights nothing is read.

    Raises:
        CheckpointError: if it is some other model's, or no network can be made of its configuration.
    """
    config = load_fastbert_config(directory)
    with foreign(f"{str(directory)!r} has no usable config.json"):
        return fastbert_flops(config)


def _skipped_in_last_layer(backbone: BackboneAdapter) -> TextFlops:
    """Return what packed blocks leave out for all tokens but those that are read; nothing of other layers."""
    blocks = backbone.blocks(len(backbone.layers) - 1)[-1:]
    return sum((block.skipped_when_last for block in blocks), start=TextFlops())
