"""Models of the shapes of well-known checkpoints, their weights random: what they answer is not looked at."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerBase

# As their checkpoints' config.json has it.
_WIDTHS = {"hidden_size": 768, "num_attention_heads": 12}
SHAPES = {
    "DeBERTa-v3-base": {
        **_WIDTHS,
        "model_type": "deberta-v2",
        "num_hidden_layers": 12,
        "intermediate_size": 3072,
        "vocab_size": 128_100,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 256,
        "max_relative_positions": -1,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
        "layer_norm_eps": 1e-7,
    },
    "ModernBERT-base": {
        **_WIDTHS,
        "model_type": "modernbert",
        "num_hidden_layers": 22,
        "intermediate_size": 1152,
        "vocab_size": 50_368,
        "max_position_embeddings": 8192,
        "local_attention": 128,
        "global_attn_every_n_layers": 3,
        "classifier_pooling": "mean",
    },
}
# What of them is no token of the tokenizer that is used here.
_SPECIALS = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")


def save_random_model(name: str, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write a classifier of a shape of `SHAPES` that takes the tokens of `tokenizer`, and the tokenizer."""
    shape = dict(SHAPES[name])
    config = AutoConfig.for_model(
        shape.pop("model_type"),
        num_labels=2,
        pad_token_id=tokenizer.pad_token_id,
        **dict.fromkeys(_SPECIALS),
        **shape,
    )
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
