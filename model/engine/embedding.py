"""Token ids to the states that the first layer takes."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.network.backbones.adapter import BackboneAdapter
from model.tokens.packing import MicroBatch
from model.tokens.tokenization import TokenizedTexts


def embed(
    adapter: BackboneAdapter,
    texts: TokenizedTexts,
    batch: MicroBatch,
    *,
    pad_token_id: int,
    device: torch.device,
) -> Tensor:
    """Return the states that the first layer takes, packed, (tokens, hidden_size).

    Args:
        adapter: of the backbone, on `device`.
        texts: longest first.
        batch: which of them.
        pad_token_id: what they are padded with.
        device: where the states shall be.
    """
    attention_mask = batch.attention_mask(torch.device("cpu"))

    def padded(values: npt.NDArray[np.int32], fill: int) -> Tensor:
        ids = batch.pad(torch.from_numpy(values[batch.token_slice]))
        if attention_mask is not None:
            ids = ids.masked_fill(~attention_mask, fill)
        # A copy that the host need not wait for must start from pinned memory.
        ids = ids if device.type == "cpu" else ids.pin_memory()
        return ids.to(device, non_blocking=True)

    token_types = texts.token_type_ids
    return batch.unpad(
        adapter.embed(
            padded(texts.input_ids, pad_token_id),
            None if token_types is None else padded(token_types, 0),
            batch.attention_mask(device),
        )
    )
