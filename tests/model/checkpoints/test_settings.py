import pytest

from model.checkpoints.settings import check_settings
from model.errors import CheckpointError

SOUND = {"model_type": "bert", "num_hidden_layers": 12, "num_attention_heads": 12, "id2label": {"0": "a"}}
SPELLINGS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_hidden_layers": 1},
        {"id2label": None},
        {"quantization_config": None},
        {"attn_implementation": "eager", "_attn_implementation": "sdpa"},
        {"n_layer": None},
    ],
    ids=str,
)
def test_what_many_checkpoints_say_is_no_fault(changes):
    check_settings(SOUND | changes, 12)
    check_settings({"model_type": "fastbert", "backbone_config": SOUND | changes}, 12)


@pytest.mark.parametrize("settings", [None, [], "bert", 1])
def test_settings_are_an_object(settings):
    with pytest.raises(CheckpointError, match="no object of settings"):
        check_settings(settings, None)
    with pytest.raises(CheckpointError, match="no object of settings"):
        check_settings({"model_type": "fastbert", "backbone_config": settings}, None)


@pytest.mark.parametrize("count", [0, -1, "12", 12.0, True, [12], "x" * 9999])
@pytest.mark.parametrize("name", [*SPELLINGS, "num_attention_heads", "n_heads", "n_head"])
def test_layers_and_heads_are_counted(name, count):
    with pytest.raises(CheckpointError, match=f"'{name}' is .* not 1 or more") as caught:
        check_settings(SOUND | {name: count}, None)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("name", SPELLINGS)
def test_there_are_no_more_layers_than_weights(name):
    for num_layers in (1, 3, 4):
        check_settings({name: num_layers}, 4)
    for num_layers in (5, 10**9):
        with pytest.raises(CheckpointError, match=f"says {num_layers:,} layers, but the weights are of 4"):
            check_settings({name: num_layers}, 4)


@pytest.mark.parametrize(
    ("settings", "weighed"), [({"model_type": "albert"}, 1), ({"model_type": "bert"}, None)], ids=str
)
def test_where_the_weights_do_not_tell_there_are_no_more_layers_than_can_be(settings, weighed):
    check_settings(settings | {"num_hidden_layers": 48}, weighed)
    with pytest.raises(CheckpointError, match="1,001 layers are more than 1,000"):
        check_settings(settings | {"num_hidden_layers": 1001}, weighed)


@pytest.mark.parametrize(
    "name", ["flash_attention_2", "flex_attention", "paged|sdpa", "kernels-community/x", {"": "sdpa"}, 1]
)
def test_attention_is_what_torch_has(name):
    for setting in ("attn_implementation", "_attn_implementation"):
        with pytest.raises(CheckpointError, match=f"'{setting}' is .*; only 'eager' and 'sdpa'"):
            check_settings({setting: name}, None)


def test_the_size_of_chunks_is_a_number():
    check_settings(SOUND | {"chunk_size_feed_forward": 0}, None)
    for size in ("x", -1, [], 0.5):
        with pytest.raises(CheckpointError, match=r"'chunk_size_feed_forward' is .* not 0 or more"):
            check_settings(SOUND | {"chunk_size_feed_forward": size}, None)
