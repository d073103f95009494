"""Every exit's view of a text: what branches are trained on, and what judges them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.engine import Engine
from model.packing import MicroBatch
from model.tokenization import TokenizedTexts


def layer_states(engine: Engine, texts: TokenizedTexts, batch: MicroBatch) -> Iterator[Tensor]:
    """Yield the hidden states after each layer but the last, (tokens, hidden_size), without gradient.

    Args:
        engine: the backbone made ready.
        texts: longest first.
        batch: which of them.
    """
    with torch.no_grad():
        states = engine.embed(texts, batch)
    for layer in range(1, engine.num_layers):
        with torch.no_grad():
            states = engine.run_layer(layer, states, batch)
        yield states


def all_exit_logits(engine: Engine, texts: TokenizedTexts) -> npt.NDArray[np.float32]:
    """Return what every exit answers to every text.

    Args:
        engine: a FastBERT made ready.
        texts: in any order.

    Returns:
        (rows, num_layers, num_labels) float32 logits, in the order of `texts`; the last layer's are the
        teacher classifier's.
    """
    order = np.argsort(-texts.lengths, kind="stable")
    ordered = texts.take(order)

    @torch.inference_mode()
    def run(batch: MicroBatch) -> Tensor:
        exits = []
        states = engine.embed(ordered, batch)
        for layer in range(1, engine.num_layers):
            states = engine.run_layer(layer, states, batch)
            exits.append(engine.answer(layer, engine.run_branch(layer, states, batch)))
        return torch.stack([*exits, engine.classify(engine.run_last_layer(states, batch))], dim=1)

    logits = np.empty((len(texts), engine.num_layers, len(engine.labels)), dtype=np.float32)
    if len(texts):
        batches = engine.micro_batches(ordered.lengths)
        logits[order] = torch.cat(engine.drive(lambda: engine.each(run, batches))).cpu().numpy()
    return logits
