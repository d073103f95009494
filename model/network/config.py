"""The configuration of a FastBERT checkpoint."""

from pathlib import Path
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PretrainedConfig
from transformers.configuration_utils import SubConfigSpec

from model.checkpoints.loading import load_config
from model.errors import CheckpointError

BRANCH_SIZE = 128
BRANCH_HEADS = 2


@strict
class FastBertConfig(PretrainedConfig):
    """A backbone's own configuration, the shape of the branches, and the length they were trained for.

    Attributes:
        backbone_config: configuration of the Hugging Face sequence classifier inside.
        branch_size: width of a branch (128 in Liu et al. 2020, Table 1).
        branch_heads: attention heads of a branch (2 in the authors' code; the paper does not say).
        max_length: tokens that a text is cut to, special tokens included.
    """

    model_type = "fastbert"
    sub_configs_defaults = {  # noqa: RUF012 - read as a class attribute by transformers
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")
    }

    backbone_config: Any = None
    branch_size: int = BRANCH_SIZE
    branch_heads: int = BRANCH_HEADS
    max_length: int = 512

    @classmethod
    def from_backbone(cls, backbone: PretrainedConfig, *, max_length: int) -> "FastBertConfig":
        """Return the configuration of a FastBERT over `backbone`, with the backbone's labels."""
        return cls(
            backbone_config=backbone,
            max_length=max_length,
            id2label=dict(backbone.id2label),
            label2id=dict(backbone.label2id),
        )


def load_fastbert_config(directory: Path) -> FastBertConfig:
    """Return the FastBERT configuration in `directory`.

    Raises:
        CheckpointError: if it is some other model's.
    """
    config = load_config(directory)
    if not isinstance(config, FastBertConfig):
        raise CheckpointError(
            f"{str(directory)!r} is a {config.model_type} checkpoint, not a FastBERT; "
            "make one of it with `fastbert-jobs distill`"
        )
    return config


AutoConfig.register(FastBertConfig.model_type, FastBertConfig)
