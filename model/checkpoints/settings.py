"""What a config.json may not say, told before anything is made of it."""

import reprlib
from collections.abc import Mapping
from typing import Any

from model.errors import CheckpointError

_CHUNK_SIZE = "chunk_size_feed_forward"
_LAYER_COUNTS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
_HEAD_COUNTS = ("num_attention_heads", "num_heads", "n_heads", "n_head")
_ATTENTIONS = ("attn_implementation", "_attn_implementation")
# These run the same weights again and again.
_SHARE_LAYERS = ("albert",)
# Where the weights do not tell: no encoder comes near it, and so many take no time to make.
_MOST_LAYERS = 1000


def check_settings(settings: object, weighed_layers: int | None) -> None:
    """Refuse what would end in a library's own words, in the middle of a job, or never.

    Args:
        settings: the content of a config.json; a FastBERT's has that of its backbone inside.
        weighed_layers: layers that the weights are of, at most; None where it is not known.

    Raises:
        CheckpointError: saying which setting it is, but not of which checkpoint.
    """
    if not isinstance(settings, dict):
        raise CheckpointError("it is no object of settings")
    if "backbone" in settings:
        # Transformers would ask the hub for the configuration of that name.
        raise CheckpointError("'backbone' names another model")
    if "backbone_config" in settings:
        check_settings(settings["backbone_config"], weighed_layers)
    _check_counts(settings, weighed_layers)
    if not isinstance(settings.get("id2label") or {}, dict):
        raise CheckpointError("'id2label' does not give a label to each number")
    if settings.get("quantization_config") is not None:
        raise CheckpointError("'quantization_config': quantised weights cannot be used; give the whole ones")
    for name in _ATTENTIONS:
        # Others are packages of their own, or programs on the hub.
        if settings.get(name) not in (None, "eager", "sdpa"):
            raise CheckpointError(
                f"{name!r} is {reprlib.repr(settings[name])}; only 'eager' and 'sdpa' can be used"
            )


def _check_counts(settings: Mapping[str, Any], weighed_layers: int | None) -> None:
    least = {_CHUNK_SIZE: 0, **dict.fromkeys((*_LAYER_COUNTS, *_HEAD_COUNTS), 1)}
    for name, fewest in least.items():
        count = settings.get(name)
        if count is not None and (type(count) is not int or count < fewest):
            raise CheckpointError(f"{name!r} is {reprlib.repr(count)}, not {fewest} or more")
    num_layers = max(settings.get(name) or 0 for name in _LAYER_COUNTS)
    if weighed_layers is None or settings.get("model_type") in _SHARE_LAYERS:
        if num_layers > _MOST_LAYERS:
            raise CheckpointError(f"{num_layers:,} layers are more than {_MOST_LAYERS:,}")
    elif num_layers > weighed_layers:
        raise CheckpointError(f"it says {num_layers:,} layers, but the weights are of {weighed_layers:,}")
