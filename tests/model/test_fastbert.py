import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from model.checkpoints import hub
from model.checkpoints.fingerprint import checkpoint_hash
from model.engine.execution import Backend, Precision, resolve_execution
from model.errors import ArtifactError, CheckpointError, ParameterError
from model.exits.binding import running_as
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.network.branch_design import BranchDesign
from model.network.branches.pooling import PoolingBranch
from model.network.config import load_fastbert_config
from model.version import NUMERICS_VERSION


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize("num_labels", [2, 3, 77, 150])
def test_any_number_of_labels(family, num_labels, make_fastbert, texts, hugging_face_logits, tmp_path):
    model = make_fastbert(family, num_labels=num_labels)
    model.save_pretrained(tmp_path)
    loaded = FastBertForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.labels == tuple(f"label {index}" for index in range(num_labels))
    result = loaded.predict(texts)
    assert result.labels == loaded.labels
    expected = hugging_face_logits(model.backbone, model.tokenizer, texts)
    np.testing.assert_allclose(result.logits, expected, rtol=0, atol=1e-5)
    early = loaded.predict(texts, speed=0.8)
    assert early.logits.shape == (len(texts), num_labels)
    assert ((early.uncertainty >= 0) & (early.uncertainty <= 1)).all()


def test_there_is_a_branch_after_every_layer_but_the_last(fastbert):
    assert fastbert.num_layers == 4
    assert len(fastbert.branches) == 3
    for branch in fastbert.branches:
        assert isinstance(branch, PoolingBranch)
        assert branch.queries.in_features == 32
        assert branch.classifier.out_features == 3


@pytest.mark.parametrize("design", BranchDesign)
def test_fresh_branches_let_signals_through(fastbert, design):
    fresh = FastBertForSequenceClassification.from_backbone(
        fastbert.backbone, fastbert.tokenizer, max_length=48, branch_design=design, seed=3
    )
    hidden = torch.randn(200, 7, 32, generator=torch.Generator().manual_seed(0))
    for branch in fresh.branches:
        # Drawn from the backbone's initializer_range of 0.02, the paper's stay below 0.001.
        assert branch(hidden).std(dim=0).mean() > 0.01


def test_no_texts_are_no_answers(fastbert):
    result = fastbert.predict([], speed=0.5)
    assert len(result) == 0
    assert result.predictions == []
    assert result.probabilities.shape == (0, 3)


def test_one_text_and_the_same_text_again(fastbert):
    once, thrice = fastbert.predict(["the fox"], speed=0.6), fastbert.predict(["the fox"] * 3, speed=0.6)
    assert thrice.predictions == once.predictions * 3
    assert thrice.exit_layer.tolist() == once.exit_layer.tolist() * 3
    np.testing.assert_allclose(thrice.logits, once.logits.repeat(3, axis=0), rtol=0, atol=1e-5)


def test_answers_come_in_the_order_of_the_texts(fastbert, texts):
    forwards, backwards = fastbert.predict(texts, speed=0.55), fastbert.predict(texts[::-1], speed=0.55)
    np.testing.assert_allclose(forwards.logits, backwards.logits[::-1], rtol=0, atol=1e-5)
    assert forwards.exit_layer.tolist() == backwards.exit_layer[::-1].tolist()
    assert forwards.num_tokens.tolist() == [len(fastbert.tokenizer(text)["input_ids"][:48]) for text in texts]
    assert forwards.truncated.tolist() == [False] * 17 + [True]


def test_a_single_string_is_no_list_of_texts(fastbert):
    with pytest.raises(TypeError, match="sequence of strings"):
        fastbert.predict("the fox")


@pytest.mark.parametrize("speed", [-0.01, 1.01])
def test_a_speed_outside_0_to_1_is_refused(fastbert, speed):
    with pytest.raises(ParameterError, match="`speed`"):
        fastbert.predict(["the fox"], speed=speed)


def test_a_policy_stands_in_for_the_speed(fastbert):
    policy = ExitPolicy.from_exit_layer(3, num_layers=4)
    assert fastbert.predict(["the fox"], policy=policy).exit_layer.tolist() == [3]


def test_forward_is_the_hugging_face_model(fastbert, texts):
    inputs = fastbert.tokenizer(list(texts), truncation=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(fastbert(**inputs).logits, fastbert.backbone(**inputs).logits)


def test_weights_of_the_backbone_are_shared(make_classifier, tokenizer):
    backbone = make_classifier("bert")
    model = FastBertForSequenceClassification.from_backbone(backbone, tokenizer, max_length=20)
    assert model.backbone is backbone
    assert model.adapter.model is backbone
    assert model.config.max_length == 20
    assert not model.training


def test_no_weights_are_drawn_for_a_backbone_that_is_given(make_classifier, tokenizer, monkeypatch):
    backbone = make_classifier("bert")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    devices = []
    make = AutoModelForSequenceClassification.from_config

    def spy(config, **options):
        made = make(config, **options)
        devices.extend(parameter.device.type for parameter in made.parameters())
        return made

    monkeypatch.setattr(AutoModelForSequenceClassification, "from_config", spy)
    model = FastBertForSequenceClassification.from_backbone(backbone, tokenizer, max_length=20)
    assert set(devices) == {"meta"}
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cpu"}
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())
    FastBertForSequenceClassification(model.config)
    assert set(devices) == {"meta", "cpu"}


def test_an_error_that_says_nothing_is_one_line_too(checkpoints, monkeypatch):
    def fail(*_, **__):
        raise OSError

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", fail)
    with pytest.raises(CheckpointError, match="cannot be loaded: OSError"):
        FastBertForSequenceClassification.from_pretrained(checkpoints["fastbert"])


def test_the_seed_decides_the_branches_and_leaves_the_callers_alone(make_classifier, tokenizer):
    backbone = make_classifier("bert")

    def weight(seed):
        model = FastBertForSequenceClassification.from_backbone(backbone, tokenizer, max_length=20, seed=seed)
        return model.branches[1].dense.weight

    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    assert torch.equal(weight(5), weight(5))
    assert not torch.equal(weight(5), weight(6))
    torch.manual_seed(123)
    weight(5)
    assert torch.equal(torch.rand(3), expected)


def test_branches_start_different_from_each_other(make_classifier, tokenizer):
    model = FastBertForSequenceClassification.from_backbone(make_classifier("bert"), tokenizer, max_length=20)
    assert not torch.equal(model.branches[0].dense.weight, model.branches[1].dense.weight)


def test_one_layer_has_no_earlier_one_to_exit_at(make_classifier, tokenizer):
    with pytest.raises(CheckpointError, match="one layer"):
        FastBertForSequenceClassification.from_backbone(
            make_classifier("bert", num_layers=1), tokenizer, max_length=20
        )


def test_two_layers_are_enough(make_fastbert, hugging_face_logits):
    model = make_fastbert("bert", num_layers=2)
    assert model.predict(["the fox"], speed=1).exit_layer.tolist() == [1]
    expected = hugging_face_logits(model.backbone, model.tokenizer, ["the fox"])
    np.testing.assert_allclose(model.predict(["the fox"]).logits, expected, rtol=0, atol=1e-5)


def test_save_and_load_keep_every_tensor_and_setting(fastbert, checkpoints):
    loaded = FastBertForSequenceClassification.from_pretrained(checkpoints["fastbert"])
    assert not loaded.training
    assert loaded.config.max_length == 48
    assert loaded.tokenizer.get_vocab() == fastbert.tokenizer.get_vocab()
    expected, found = fastbert.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    # Buffers that are not saved must be made anew, not be left as whatever memory held.
    buffers = dict(loaded.named_buffers())
    for name, tensor in fastbert.named_buffers():
        assert torch.equal(buffers[name], tensor), name


def test_a_checkpoint_is_an_ordinary_hugging_face_directory(checkpoints):
    names = {path.name for path in checkpoints["fastbert"].iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    config = json.loads((checkpoints["fastbert"] / "config.json").read_text())
    assert config["model_type"] == "fastbert"
    assert config["backbone_config"]["model_type"] == "bert"
    assert len(AutoTokenizer.from_pretrained(checkpoints["fastbert"])) > 50


def test_the_auto_class_loads_it_at_full_depth(fastbert, checkpoints, texts):
    model = AutoModelForSequenceClassification.from_pretrained(checkpoints["fastbert"])
    assert isinstance(model, FastBertForSequenceClassification)
    inputs = fastbert.tokenizer(list(texts), truncation=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, fastbert.backbone(**inputs).logits)
    assert model.predict(texts, speed=0.5).predictions == fastbert.predict(texts, speed=0.5).predictions


def test_the_loading_report_is_given_where_asked_for(checkpoints):
    for auto in (AutoModelForSequenceClassification, FastBertForSequenceClassification):
        model, report = auto.from_pretrained(checkpoints["fastbert"], output_loading_info=True)
        assert isinstance(model, FastBertForSequenceClassification)
        assert not report["missing_keys"]


def test_dtype_is_float32_unless_asked_otherwise(checkpoints):
    load = FastBertForSequenceClassification.from_pretrained
    assert {p.dtype for p in load(checkpoints["fastbert"]).parameters()} == {torch.float32}
    half = load(checkpoints["fastbert"], dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_what_is_saved_does_not_depend_on_what_was_read_before(make_fastbert, texts, tmp_path):
    model = make_fastbert("bert")
    model.save_pretrained(tmp_path / "before")
    model.predict(texts[:2])
    model.predict(texts)
    model.save_pretrained(tmp_path / "after")
    for path in (tmp_path / "before").iterdir():
        assert (tmp_path / "after" / path.name).read_bytes() == path.read_bytes(), path.name


def test_load_fastbert_config_names_what_it_found_instead(checkpoints):
    assert load_fastbert_config(checkpoints["fastbert"]).max_length == 48
    with pytest.raises(CheckpointError, match=r"a bert checkpoint, not a FastBERT.*distill"):
        load_fastbert_config(checkpoints["backbone"])


# -- the tokenizer ------------------------------------------------------------------------------------


def test_a_model_made_of_a_configuration_has_no_tokenizer_until_it_is_given_one(fastbert):
    model = FastBertForSequenceClassification(fastbert.config)
    for use in (lambda: model.tokenizer, lambda: model.predict(["the fox"])):
        with pytest.raises(CheckpointError, match=r"no tokenizer yet; set `model\.tokenizer`"):
            use()
    model.tokenizer = fastbert.tokenizer
    assert model.tokenizer is fastbert.tokenizer
    assert len(model.eval().predict(["the fox"])) == 1


def test_a_model_without_a_tokenizer_is_saved_without_one(fastbert, tmp_path):
    model = FastBertForSequenceClassification(fastbert.config)
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    fastbert.tokenizer.save_pretrained(tmp_path)
    loaded = FastBertForSequenceClassification.from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


# -- the hub ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"revision": "v2"},
        {"revision": "v2", "token": "secret", "cache_dir": "there", "local_files_only": True},
    ],
)
def test_what_is_asked_of_the_hub_is_what_was_given(checkpoints, monkeypatch, options):
    asked = []

    def download(name, *, allow_patterns, **given):
        asked.append((name, given))
        return str(checkpoints["fastbert"])

    monkeypatch.setattr(hub, "snapshot_download", download)
    loaded = FastBertForSequenceClassification.from_pretrained("org/name", **options)
    assert asked == [("org/name", options)]
    assert loaded.model_hash == checkpoint_hash(checkpoints["fastbert"])


def test_a_directory_has_no_revision(checkpoints):
    with pytest.raises(ParameterError, match="`revision` is for names on the hub"):
        FastBertForSequenceClassification.from_pretrained(checkpoints["fastbert"], revision="v2")


# -- calibrated policies ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(checkpoints):
    return FastBertForSequenceClassification.from_pretrained(checkpoints["fastbert"])


def calibrated(model, **changes):
    execution = resolve_execution(Precision.FP32, device="cpu")
    calibrated_for = running_as(model.engine(execution, num_cores=1), 48)
    policy = ExitPolicy.from_speed(0.6, num_layers=4)
    return replace(policy, calibrated_for=replace(calibrated_for, **changes))


def test_a_loaded_model_has_the_hash_of_its_files(make_fastbert, saved, checkpoints):
    assert saved.model_hash == checkpoint_hash(checkpoints["fastbert"])
    assert saved.engine(resolve_execution(Precision.FP32, device="cpu")).model_hash == saved.model_hash
    assert make_fastbert("bert").model_hash != saved.model_hash


def test_a_calibrated_policy_runs_on_what_it_is_calibrated_for(saved, texts, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made = []
    make = FastBertForSequenceClassification.engine

    def spy(model, execution, **options):
        made.append(execution)
        return make(model, execution, **options)

    monkeypatch.setattr(FastBertForSequenceClassification, "engine", spy)
    policy = calibrated(saved)
    made.clear()
    # So few texts would run through the layers as they are, had the policy nothing to say.
    answers = saved.predict(texts[:2], policy=policy)
    assert made == [resolve_execution(Precision.FP32, device="cpu")]
    saved.predict(texts[:2], policy=calibrated(saved, precision="bf16"))
    assert made[-1] == resolve_execution(Precision.BF16, device="cpu")
    assert answers.exit_layer.tolist() == saved.predict(texts[:2], speed=0.6).exit_layer.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_hash": "0" * 64}, "calibrated for another model"),
        ({"device": "cuda"}, r"device \(cpu, calibrated for cuda\)"),
        ({"max_length": 20}, r"max_length \(48, calibrated for 20\)"),
        ({"numerics_version": 1}, rf"numerics_version \({NUMERICS_VERSION}, calibrated for 1\)"),
    ],
)
def test_a_policy_that_is_calibrated_for_something_else_is_refused(
    saved, texts, monkeypatch, changes, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArtifactError, match=message):
        saved.predict(texts, policy=calibrated(saved, **changes))


@pytest.mark.parametrize("backend", [Backend.TORCH, Backend.HUGGING_FACE])
def test_a_policy_runs_on_the_backend_that_it_is_calibrated_for(saved, texts, backend):
    execution = replace(resolve_execution(Precision.FP32, device="cpu"), backend=backend)
    calibrated_for = running_as(saved.engine(execution), 48)
    assert calibrated_for.backend == backend
    policy = replace(ExitPolicy.from_speed(0.6, num_layers=4), calibrated_for=calibrated_for)
    assert len(saved.predict(texts, policy=policy)) == len(texts)


def test_a_speed_beside_a_policy_is_refused(saved, texts):
    with pytest.raises(ParameterError, match="`speed` and `policy` exclude each other"):
        saved.predict(texts, speed=0.5, policy=ExitPolicy.from_speed(0.6, num_layers=4))


def test_a_policy_of_another_depth_is_refused(saved, texts):
    for num_layers in (3, 12):
        with pytest.raises(ParameterError, match=f"a model of {num_layers} layers, and this one has 4"):
            saved.predict(texts, policy=ExitPolicy.from_speed(0.5, num_layers=num_layers))


def test_weights_of_another_number_format_are_not_the_checkpoints(checkpoints, saved, texts):
    directory = checkpoints["fastbert"]
    rounded = FastBertForSequenceClassification.from_pretrained(directory, dtype="bfloat16")
    assert rounded.model_hash != saved.model_hash
    with pytest.raises(ArtifactError, match="calibrated for another model"):
        rounded.predict(texts, policy=calibrated(saved))
    there_and_back = FastBertForSequenceClassification.from_pretrained(directory)
    there_and_back.to(torch.bfloat16).to(torch.float32)
    assert there_and_back.model_hash != saved.model_hash


@pytest.mark.parametrize("word", ["dtype", "torch_dtype"])
def test_the_number_format_may_be_asked_for_in_either_word(checkpoints, word):
    model = FastBertForSequenceClassification.from_pretrained(
        checkpoints["fastbert"], **{word: torch.bfloat16}
    )
    assert model.dtype == torch.bfloat16


def test_a_model_that_is_saved_is_the_saved_one(make_fastbert, tmp_path):
    model = make_fastbert("bert")
    made = model.model_hash
    model.save_pretrained(tmp_path)
    assert model.model_hash == checkpoint_hash(tmp_path) != made
    loaded = FastBertForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.model_hash == model.model_hash
    with torch.no_grad():
        loaded.branches[0].classifier.bias.add_(1)
    assert loaded.model_hash != model.model_hash


def test_a_copy_that_is_saved_elsewhere_leaves_the_model_what_it_is(checkpoints, tmp_path):
    model = FastBertForSequenceClassification.from_pretrained(checkpoints["fastbert"])
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert model.model_hash == checkpoint_hash(checkpoints["fastbert"]) != checkpoint_hash(tmp_path)


def test_an_engine_that_does_not_fit_the_policy_is_refused(saved, texts):
    engine = saved.engine(resolve_execution(Precision.BF16, device="cpu"), num_cores=1)
    with pytest.raises(ArtifactError, match=r"precision \(bf16, calibrated for fp32\)"):
        saved.predict(texts, policy=calibrated(saved), engine=engine)
