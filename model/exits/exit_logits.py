"""Every exit's view of a text: what branches are trained on, and what judges them."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.engine.engine import Engine
from model.tokens.lengths import argsort_by_length, cu_seqlens, padded_token_indices
from model.tokens.packing import MicroBatch
from model.tokens.tokenization import TokenizedTexts


class LayerStates:
    """The hidden states of some texts after every layer but the last, without gradient."""

    @torch.no_grad()
    def __init__(self, engine: Engine, texts: TokenizedTexts) -> None:
        """Run `texts`, in any order, through the backbone that `engine` is of."""
        order = argsort_by_length(texts.lengths)
        ordered = texts.take(order)
        self._lengths = texts.lengths
        self._starts = np.empty_like(texts.lengths)
        self._starts[order] = cu_seqlens(ordered.lengths)[:-1]
        num_tokens = len(ordered.input_ids)
        self._layers = [engine.allocate_states(num_tokens) for _ in range(1, engine.num_layers)]

        def run(batch: MicroBatch) -> None:
            states = engine.embed(ordered, batch)
            for layer, layer_states in enumerate(self._layers, start=1):
                states = engine.run_layer(layer, states, batch)
                layer_states[batch.token_slice] = states[: batch.num_real_tokens]

        batches = engine.micro_batches(ordered.lengths, engine.layer_token_types(ordered))
        engine.run_on_driver_thread(lambda: engine.for_each_micro_batch(run, batches))

    def batch_indices(self, rows: slice | npt.NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Return how some texts are padded to one batch.

        Returns:
            (rows, width) int64, where the tokens stand, for `hidden_states`; and which of them are real ones,
            (rows, width) bool, None where all are.
        """
        lengths, device = self._lengths[rows], self._layers[0].device
        indices = torch.from_numpy(padded_token_indices(self._starts[rows], lengths)).to(device)
        real = torch.from_numpy(np.arange(indices.shape[1]) < lengths[:, None]).to(device)
        return indices, None if (lengths == lengths[0]).all() else real

    def hidden_states(self, layer: int, indices: Tensor) -> Tensor:
        """Return the states after `layer`, from 1, of the tokens at `indices`, (rows, width, hidden_size)."""
        return self._layers[layer - 1].index_select(0, indices.flatten()).view(*indices.shape, -1)


@torch.inference_mode()
def all_exit_logits(engine: Engine, texts: TokenizedTexts) -> npt.NDArray[np.float32]:
    """Return what every exit answers to every text.

    Args:
        engine: a FastBERT made ready.
        texts: in any order.

    Returns:
        (rows, len(engine.exits), num_outputs) float32 logits, in the order of `texts`; the last layer's are
        the teacher classifier's.
    """
    order = argsort_by_length(texts.lengths)
    ordered = texts.take(order)

    def run(batch: MicroBatch) -> Tensor:
        exits: list[Tensor] = []
        states = engine.embed(ordered, batch)
        for layer in range(1, engine.num_layers):
            states = engine.run_layer(layer, states, batch)
            exits.append(engine.branch_logits(layer, engine.branch_features(layer, states, batch)))
        return torch.stack([*exits, engine.classify(engine.run_last_layer(states, batch))], dim=1)

    def run_all() -> Tensor:
        batches = engine.micro_batches(ordered.lengths, engine.layer_token_types(ordered))
        of_layers = torch.cat(engine.map_micro_batches(run, batches))
        if 0 not in engine.exits:
            return of_layers
        return torch.cat([engine.lexical_logits(ordered)[:, None], of_layers], dim=1)

    logits = np.empty((len(texts), len(engine.exits), engine.num_outputs), dtype=np.float32)
    if len(texts):
        logits[order] = engine.run_on_driver_thread(run_all).cpu().numpy()
    return logits
