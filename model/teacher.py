"""Soft labels: any sequence classifier at full depth, by its own forward."""

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model.packing import micro_batches
from model.tokenization import TokenizedTexts


@torch.inference_mode()
def teacher_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: TokenizedTexts,
    *,
    token_budget: int,
) -> npt.NDArray[np.float32]:
    """Return the model's logits, texts of like length run together.

    The published implementations label with dropout on; here the model must be in eval mode.

    Args:
        model: any `AutoModelForSequenceClassification`.
        tokenizer: the model's own; says on which side to pad.
        texts: in any order.
        token_budget: tokens of a micro-batch, padding included.

    Returns:
        (rows, num_labels) float32, in the order of `texts`.
    """
    assert not model.training, "soft labels are made without dropout"
    logits = np.empty((len(texts), model.config.num_labels), dtype=np.float32)
    order = np.argsort(-texts.lengths, kind="stable")
    ordered = texts.take(order)
    for batch in micro_batches(ordered.lengths, token_budget):
        ends = np.cumsum(batch.lengths)[:-1]
        features = {"input_ids": np.split(ordered.input_ids[batch.tokens], ends)}
        if ordered.token_type_ids is not None:
            features["token_type_ids"] = np.split(ordered.token_type_ids[batch.tokens], ends)
        inputs = tokenizer.pad(
            {name: [part.tolist() for part in parts] for name, parts in features.items()},
            return_tensors="pt",
            return_attention_mask=True,
        ).to(model.device)
        logits[order[batch.rows]] = model(**inputs).logits.float().cpu().numpy()
    return logits
