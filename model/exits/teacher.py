"""Soft labels: any sequence classifier at full depth."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model.engine.elsewhere import execution_elsewhere
from model.engine.engine import Engine
from model.engine.execution import Backend, Execution
from model.engine.frozen_copy import frozen_copy
from model.engine.gpus import device_named
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.network.backbones.registry import SUPPORTED_FAMILIES
from model.network.config import FastBertConfig
from model.tokens.lengths import argsort_by_length, cu_seqlens
from model.tokens.packing import micro_batches
from model.tokens.tokenization import TokenizedTexts

# In these a text's last token sees the embedding of the padding after it, whatever the attention mask says:
# only texts of one length are run together.
_SEE_PADDING = ("mobilebert",)


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A classifier made ready to answer.

    Attributes:
        model: a frozen copy of the classifier.
        tokenizer: its own.
        execution: what it runs on; a family that cannot exit early is run by its own forward.
        engine: what runs it; None where its own forward does.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    execution: Execution
    engine: Engine | None

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, execution: Execution
    ) -> "Teacher":
        """Make a copy of `model` ready, any sequence classifier; `model` itself stays as it is."""
        backbone = _backbone_of(model)
        if backbone.config.model_type not in SUPPORTED_FAMILIES:
            frozen = frozen_copy(model, device=device_named(execution.device), dtype=execution.dtype)
            execution = replace(execution, backend=Backend.HUGGING_FACE)
            return cls(model=frozen, tokenizer=tokenizer, execution=execution, engine=None)
        engine = Engine.for_classifier(backbone, execution, pad_token_id=tokenizer.pad_token_id)
        frozen = engine.adapter.model
        return cls(model=frozen, tokenizer=tokenizer, execution=engine.execution, engine=engine)

    @staticmethod
    def execution_elsewhere(model: PreTrainedModel, execution: Execution) -> Execution:
        """Return what a teacher will run on that is made ready by a machine with another device."""
        backbone = _backbone_of(model)
        if backbone.config.model_type not in SUPPORTED_FAMILIES:
            return replace(execution, backend=Backend.HUGGING_FACE)
        return execution_elsewhere(backbone, execution)

    def logits(self, texts: TokenizedTexts) -> npt.NDArray[np.float32]:
        """Return (rows, num_labels) float32, in the order of `texts`.

        Where an answer is no number, it is not finite. The published implementations label with dropout on;
        here the copy is in eval mode.
        """
        if self.engine is None:
            budget = self.execution.token_budget
            return teacher_logits(self.model, self.tokenizer, texts, token_budget=budget)
        full_depth = ExitPolicy.from_speed(0, num_layers=self.engine.num_layers)
        logits = predict_tokenized(self.engine, texts, full_depth).logits
        # Of a score without its spread.
        return logits[:, : self.model.config.num_labels]


def _backbone_of(model: PreTrainedModel) -> PreTrainedModel:
    return model.backbone if model.config.model_type == FastBertConfig.model_type else model


def padded_inputs(
    tokenizer: PreTrainedTokenizerBase, texts: TokenizedTexts, device: torch.device
) -> dict[str, Tensor]:
    """Return what a Hugging Face model takes, (rows, longest) each, padded as its tokenizer does."""
    starts = cu_seqlens(texts.lengths)[1:-1]
    features = {"input_ids": texts.input_ids, "token_type_ids": texts.token_type_ids}
    inputs = tokenizer.pad(
        {
            name: [row.tolist() for row in np.split(values, starts)]
            for name, values in features.items()
            if values is not None
        },
        return_tensors="pt",
        return_attention_mask=True,
    )
    return dict(inputs.to(device))


@torch.inference_mode()
def teacher_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: TokenizedTexts,
    *,
    token_budget: int,
) -> npt.NDArray[np.float32]:
    """Return what the model's own forward answers, texts of like length run together.

    The published implementations label with dropout on; here the model must be in eval mode.

    Args:
        model: any `AutoModelForSequenceClassification`.
        tokenizer: the model's own; says on which side to pad.
        texts: in any order.
        token_budget: tokens of a micro-batch, padding included.

    Returns:
        (rows, num_labels) float32, in the order of `texts`; not finite where an answer is no number.
    """
    assert not model.training, "soft labels are made without dropout"
    logits = np.empty((len(texts), model.config.num_labels), dtype=np.float32)
    order = argsort_by_length(texts.lengths)
    ordered = texts.take(order)
    sees_padding = model.config.model_type in _SEE_PADDING
    for batch in micro_batches(ordered.lengths, token_budget):
        rows = np.arange(batch.text_slice.start, batch.text_slice.stop)
        changes = np.flatnonzero(np.diff(batch.lengths)) + 1
        for part in np.split(rows, changes) if sees_padding else [rows]:
            inputs = padded_inputs(tokenizer, ordered.take(part), model.device)
            logits[order[part]] = model(**inputs).logits.float().cpu().numpy()
    return logits
