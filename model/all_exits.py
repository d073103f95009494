"""Every exit's view of a text: what branches are trained on, and what judges them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.packing import MicroBatch, micro_batches
from model.tokenization import TokenizedTexts

if TYPE_CHECKING:
    from model.fastbert import FastBertForSequenceClassification


def layer_states(
    model: FastBertForSequenceClassification, texts: TokenizedTexts, batch: MicroBatch
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the hidden states after each layer, the last included, and the padding.

    No gradient reaches the backbone. States are (rows, length, hidden_size); padding is (rows, length)
    bool, True at real tokens, or None where no text is padded.

    Args:
        model: in eval mode.
        texts: longest first.
        batch: which of them.
    """
    adapter, device = model.adapter, model.device
    padding = batch.padding(device)
    with torch.no_grad():
        ids = torch.from_numpy(texts.input_ids).to(device)
        kinds = texts.token_type_ids
        hidden = adapter.embed(
            batch.pad(ids, padding, fill=model.tokenizer.pad_token_id),
            None if kinds is None else batch.pad(torch.from_numpy(kinds).to(device), padding),
            padding,
        )
        inputs = adapter.layer_inputs(hidden, padding)
    for layer in range(model.num_layers):
        with torch.no_grad():
            hidden = adapter.run_layer(layer, hidden, inputs)
        yield hidden, padding


@torch.no_grad()
def all_exit_logits(
    model: FastBertForSequenceClassification, texts: TokenizedTexts, *, token_budget: int
) -> npt.NDArray[np.float32]:
    """Return what every exit answers to every text.

    Args:
        model: in eval mode.
        texts: in any order.
        token_budget: tokens of a micro-batch, padding included.

    Returns:
        (rows, num_layers, num_labels) float32 logits, in the order of `texts`; the last layer's are the
        teacher classifier's.
    """
    logits = np.empty((len(texts), model.num_layers, model.config.num_labels), dtype=np.float32)
    order = np.argsort(-texts.lengths, kind="stable")
    ordered = texts.take(order)
    for batch in micro_batches(ordered.lengths, token_budget):
        for layer, (hidden, padding) in enumerate(layer_states(model, ordered, batch)):
            is_last = layer == model.num_layers - 1
            answer = model.adapter.classify(hidden) if is_last else model.branches[layer](hidden, padding)
            logits[order[batch.rows], layer] = answer.float().cpu().numpy()
    return logits
