"""Every supported family in a shape or two, as small as they come."""

_WIDE = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
# Distances of more than three tokens share embeddings.
_DISTANCES = {
    "relative_attention": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
}
# What is not in a vocabulary this small.
_NO_SPECIALS = dict.fromkeys(["bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"])
FAMILIES = {
    "bert": {**_WIDE, "hidden_dropout_prob": 0.2, "classifier_dropout": 0.3},
    "ernie": {**_WIDE, "use_task_id": True, "task_type_vocab_size": 3, "classifier_dropout": 0.3},
    "roberta": {**_WIDE, "classifier_dropout": 0.3},
    "xlm-roberta": {**_WIDE, "classifier_dropout": 0.3},
    "camembert": {**_WIDE, "classifier_dropout": 0.3},
    "electra": {**_WIDE, "embedding_size": 24, "classifier_dropout": 0.3},
    "electra, one width": {**_WIDE, "embedding_size": 32, "classifier_dropout": 0.3},
    "distilbert": {"dim": 32, "n_heads": 4, "hidden_dim": 48, "seq_classif_dropout": 0.3},
    "mpnet": {**_WIDE, "hidden_dropout_prob": 0.2},
    "albert": {**_WIDE, "embedding_size": 16, "num_hidden_groups": 1, "classifier_dropout_prob": 0.3},
    "albert, groups": {
        **_WIDE,
        "embedding_size": 16,
        "num_hidden_groups": 2,
        "inner_group_num": 2,
        "classifier_dropout_prob": 0.3,
    },
    "mobilebert": {
        **_WIDE,
        "embedding_size": 16,
        "intra_bottleneck_size": 16,
        "num_feedforward_networks": 2,
        "classifier_dropout": 0.3,
    },
    "mobilebert, wide": {**_WIDE, "embedding_size": 16, "use_bottleneck": False, "classifier_dropout": 0.3},
    # As DeBERTa-v3 is; and as the largest of version 2, and old ones, have it.
    "deberta-v2": {**_WIDE, **_DISTANCES, "share_att_key": True, "type_vocab_size": 0, "cls_dropout": 0.3},
    "deberta-v2, convolution": {
        **_WIDE,
        **_DISTANCES,
        "embedding_size": 24,
        "position_biased_input": True,
        "conv_kernel_size": 3,
        "conv_act": "gelu",
        "pos_att_type": ["c2p"],
    },
    # Local attention sees four tokens on each side.
    "modernbert": {**_WIDE, **_NO_SPECIALS, "local_attention": 8, "classifier_dropout": 0.3},
    "xlnet": {"d_model": 32, "n_head": 4, "d_inner": 48},
    # Distances of more than six tokens are one.
    "xlnet, token types": {
        **{"d_model": 32, "n_head": 4, "d_inner": 48, "clamp_len": 6, "ff_activation": "relu"},
        **{"summary_use_proj": False, "summary_activation": "relu"},
    },
    "modernbert, mean": {
        **_WIDE,
        **_NO_SPECIALS,
        "classifier_pooling": "mean",
        "local_attention": 8,
        "global_attn_every_n_layers": 2,
        "hidden_activation": "silu",
        **dict.fromkeys(["attention_bias", "mlp_bias", "norm_bias", "classifier_bias"], True),
    },
}
# These count positions from the padding token's number on, which in their vocabularies is 1.
PADDING_IS_ONE = ("roberta", "xlm-roberta", "camembert", "mpnet")
NO_TOKEN_TYPES = ("distilbert", "mpnet", "modernbert")
TOKEN_TYPES = ["input_ids", "token_type_ids", "attention_mask"]


def table_sizes(family: str, max_length: int) -> dict[str, int]:
    """Return the sizes of what is embedded beside words."""
    if "xlnet" in family:
        return {}
    positions = {"max_position_embeddings": max_length + 2}
    return positions if "distilbert" in family else {**positions, "type_vocab_size": 2}
