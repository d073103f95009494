"""The configuration of a FastBERT checkpoint."""

from pathlib import Path
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PretrainedConfig
from transformers.configuration_utils import SubConfigSpec

from model.answers.task import Task
from model.checkpoints.loading import load_config, task_of
from model.errors import CheckpointError
from model.network.branch_design import BRANCH_SIZES, BranchDesign


@strict
class FastBertConfig(PretrainedConfig):
    """A backbone's own configuration, the shape of the branches, and the length they were trained for.

    Attributes:
        backbone_config: configuration of the Hugging Face sequence classifier inside.
        branch_design: one of `BranchDesign`; the paper's where a checkpoint does not say.
        branch_size: width of a branch.
        branch_heads: attention heads of the paper's branch, learned queries of the pooling one.
        max_length: tokens that a text is cut to, special tokens included.
        lexical_ngrams: n-grams that the lexical branch knows; 0 where there is none.
        lexical_slot_bits: of its table, see `NgramTable`.
        lexical_signature: see `model.tokens.lexical_signature`.
    """

    model_type = "fastbert"
    sub_configs_defaults = {  # noqa: RUF012 - read as a class attribute by transformers
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")
    }

    backbone_config: Any = None
    branch_design: str = BranchDesign.PAPER.value
    branch_size: int = BRANCH_SIZES[BranchDesign.PAPER][0]
    branch_heads: int = BRANCH_SIZES[BranchDesign.PAPER][1]
    max_length: int = 512
    lexical_ngrams: int = 0
    lexical_slot_bits: int = 0
    lexical_signature: str = ""

    @classmethod
    def from_backbone(
        cls,
        backbone: PretrainedConfig,
        *,
        max_length: int,
        branch_design: BranchDesign = BranchDesign.POOLING,
    ) -> "FastBertConfig":
        """Return the configuration of a FastBERT over `backbone`, with the backbone's labels."""
        size, heads = BRANCH_SIZES[branch_design]
        return cls(
            backbone_config=backbone,
            branch_design=branch_design.value,
            branch_size=size,
            branch_heads=heads,
            max_length=max_length,
            id2label=dict(backbone.id2label),
            label2id=dict(backbone.label2id),
            problem_type=backbone.problem_type,
        )

    @property
    def task(self) -> Task:
        """What the logits mean."""
        return task_of(self)

    @property
    def num_outputs(self) -> int:
        """Numbers that an exit answers with; see `Task.num_outputs`."""
        return self.task.num_outputs(self.num_labels)


def load_fastbert_config(directory: Path) -> FastBertConfig:
    """Return the FastBERT configuration in `directory`.

    Raises:
        CheckpointError: if it is some other model's, or it answers with neither labels nor a score.
    """
    config = load_config(directory)
    if not isinstance(config, FastBertConfig):
        raise CheckpointError(
            f"{str(directory)!r} is a {config.model_type} checkpoint, not a FastBERT; "
            "make one of it with `fastbert-jobs distill`"
        )
    task_of(config, str(directory))
    return config


AutoConfig.register(FastBertConfig.model_type, FastBertConfig)
