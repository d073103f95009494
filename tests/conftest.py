"""Tiny models of random weights, and the texts that they read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertTokenizer,
    PreTrainedTokenizerBase,
)

from jobs.quickstart.tiny_bert import train_wordpiece
from model.engine.engine import Engine
from model.engine.execution import Backend, Precision, resolve_execution
from model.engine.fused_linear import has_onednn
from model.exits.exit_logits import all_exit_logits
from model.fastbert import FastBertForSequenceClassification
from model.network.branch_design import BranchDesign
from model.tokens.tokenization import tokenize
from tests.model.tokens.tokenizers_of_every_kind import xlnet
from tests.random_lexical_branch import add_lexical_branch
from tests.small_families import FAMILIES, NO_TOKEN_TYPES, PADDING_IS_ONE, TOKEN_TYPES, table_sizes

# Running a model takes what it takes on a machine that others use too. A commit is judged by the same
# examples at every run; `make search` looks for others.
settings.register_profile("fastbert-jobs", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=500, print_blob=True)
settings.load_profile("fastbert-jobs")

# The products of tiny models are over before a second core has heard of them.
torch.set_num_threads(1)

MAX_LENGTH = 48

_TEXTS = (
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "A dog and a fox were jumping over the brown fence, quickly.",
    "Naïve cafés serve 12 quick lunches; the dog waits.",
    "lazy",
    "Yes!",
    "The fence is brown. " * 4,
    "Quick, quick: the café closes, and nobody has served the fox its lunch yet.",
    "No dog jumps.",
    "fox",
    "Lunches, lunches, lunches, lunches and lunches.",
    "over and over and over the fence jumps the naive brown dog",
    "12 foxes; 12 dogs",
    "a b c d e f g",
    "The lazy fox was quick? No: the quick fox was lazy.",
    "Brown cafés",
    "were the dog and the fox waiting for each other over lunch",
    "fox " * 80,
)


@pytest.fixture(scope="session")
def families() -> tuple[str, ...]:
    """What `family` goes through; a comma parts a family from the shape that it is tried in."""
    return tuple(FAMILIES)


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Every supported family, in all its shapes."""
    return request.param


@pytest.fixture(scope="session")
def texts() -> tuple[str, ...]:
    """Texts of very different lengths; one of them is cut at MAX_LENGTH."""
    return _TEXTS


@pytest.fixture(scope="session")
def tokenizer(texts: tuple[str, ...]) -> BertTokenizer:
    """A WordPiece tokenizer whose padding token is 0, as BERT's."""
    tokenizer = train_wordpiece(texts * 3, vocab_size=110)
    tokenizer.model_max_length = MAX_LENGTH
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer_of(
    tokenizer: BertTokenizer, texts: tuple[str, ...]
) -> Callable[[str], PreTrainedTokenizerBase]:
    """Return the tokenizer of a family: its padding token, its token types, where it classifies."""

    def choose(family: str) -> PreTrainedTokenizerBase:
        kind = family.split(",")[0]
        if kind == "xlnet":
            # Left to itself it tells none.
            types = {"model_input_names": TOKEN_TYPES} if "token types" in family else {}
            return xlnet(texts, vocab_size=110, model_max_length=MAX_LENGTH, **types)
        vocab = dict(tokenizer.get_vocab())
        if kind in PADDING_IS_ONE:
            vocab["[PAD]"], vocab["[UNK]"] = vocab["[UNK]"], vocab["[PAD]"]
        names = ["input_ids", "attention_mask"] if kind in NO_TOKEN_TYPES else tokenizer.model_input_names
        return BertTokenizer(vocab=vocab, model_max_length=MAX_LENGTH, model_input_names=names)

    return choose


def _shake(module: torch.nn.Module, generator: torch.Generator, *, scale: float = 1.0) -> None:
    """Give every parameter, biases, norms and padding rows too, a value that a mistake would not hit."""
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if parameter.ndim >= 2:
                parameter.copy_(scale * noise / parameter.shape[-1] ** 0.5)
            else:
                parameter.add_(0.3 * scale * noise)


@pytest.fixture(scope="session")
def make_classifier(tokenizer_of) -> Callable[..., torch.nn.Module]:
    """Return a maker of Hugging Face sequence classifiers: `make_classifier(family, num_labels=3, ...)`."""

    def make(family: str, *, num_labels: int = 3, num_layers: int = 4, seed: int = 0, **config):
        tokenizer = tokenizer_of(family)
        config = AutoConfig.for_model(
            family.split(",")[0],
            vocab_size=len(tokenizer),
            num_hidden_layers=num_layers,
            num_labels=num_labels,
            id2label={index: f"label {index}" for index in range(num_labels)},
            label2id={f"label {index}": index for index in range(num_labels)},
            pad_token_id=tokenizer.pad_token_id,
            **{**table_sizes(family, MAX_LENGTH), **FAMILIES[family], **config},
        )
        model = AutoModelForSequenceClassification.from_config(config)
        # MobileBERT normalises nothing: its states grow from layer to layer.
        scale = 0.75 if "mobilebert" in family else 1.0
        _shake(model, torch.Generator().manual_seed(seed), scale=scale)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def make_fastbert(make_classifier, tokenizer_of) -> Callable[..., FastBertForSequenceClassification]:
    """Return a maker of FastBERTs, `make_fastbert(family, num_labels=3, ...)`, whose branches disagree."""

    def make(
        family: str = "bert", *, branch_design: BranchDesign = BranchDesign.POOLING, **config
    ) -> FastBertForSequenceClassification:
        model = FastBertForSequenceClassification.from_backbone(
            make_classifier(family, **config),
            tokenizer_of(family),
            max_length=MAX_LENGTH,
            branch_design=branch_design,
        )
        _shake(model.branches, torch.Generator().manual_seed(1))
        _spread_answers(model)
        return model

    return make


@torch.no_grad()
def _spread_answers(model: FastBertForSequenceClassification) -> None:
    """Let every branch give different labels to different texts, of some sure, of some not."""
    tokenized = tokenize(model.tokenizer, _TEXTS, max_length=MAX_LENGTH)
    engine = model.engine(resolve_execution(Precision.FP32, device="cpu"))
    exits = torch.from_numpy(all_exit_logits(engine, tokenized))
    for branch, logits in zip(model.branches, exits.unbind(1), strict=False):
        scale = 1.2 / logits.std(dim=0).mean()
        branch.classifier.weight.mul_(scale)
        branch.classifier.bias.sub_(logits.mean(dim=0)).mul_(scale)


@pytest.fixture(scope="session")
def fastbert(make_fastbert) -> FastBertForSequenceClassification:
    """A BERT of four layers and three labels, with branches. Shared: leave it as it is."""
    return make_fastbert("bert")


@pytest.fixture(scope="session")
def lexical_fastbert(make_fastbert, texts) -> FastBertForSequenceClassification:
    """The same with a lexical branch. Shared: leave it as it is."""
    return add_lexical_branch(make_fastbert("bert"), texts)


@pytest.fixture(scope="session")
def snapshot_of() -> Callable[[torch.nn.Module], list]:
    """Return what of a module an engine must leave alone: modes, and each tensor's identity and content."""

    def snapshot(module: torch.nn.Module) -> list:
        tensors = (*module.named_parameters(), *module.named_buffers())
        return [
            [(name, part.training) for name, part in module.named_modules()],
            [
                (name, id(tensor), tensor.dtype, tensor.device, tensor.requires_grad)
                for name, tensor in tensors
            ],
            [value.detach().numpy().tobytes() for _, value in tensors],
        ]

    return snapshot


@pytest.fixture(scope="session")
def make_engine() -> Callable[..., Engine]:
    """Return a maker of engines of a FastBERT, in float32 on one core: `make_engine(model, backend=...)`."""

    def make(model: FastBertForSequenceClassification, **options) -> Engine:
        execution = resolve_execution(Precision.FP32, device="cpu")
        return model.engine(replace(execution, **options), num_cores=1)

    return make


@pytest.fixture(scope="session")
def engine(make_engine, fastbert) -> Engine:
    """The engine of `fastbert`."""
    return make_engine(fastbert)


@pytest.fixture(scope="session", params=Backend)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every backend that this machine has."""
    if request.param is Backend.ONEDNN and not has_onednn(torch.float32):
        pytest.skip("this build of torch has no packed oneDNN products")
    return request.param


@pytest.fixture(scope="session")
def checkpoints(fastbert, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directories of `fastbert` and of its backbone, "fastbert" and "backbone". Copy before changing."""
    directory = tmp_path_factory.mktemp("checkpoints")
    fastbert.save_pretrained(directory / "fastbert")
    fastbert.backbone.save_pretrained(directory / "backbone")
    fastbert.tokenizer.save_pretrained(directory / "backbone")
    return {name: directory / name for name in ("fastbert", "backbone")}


@pytest.fixture(scope="session")
def hugging_face_logits() -> Callable[..., np.ndarray]:
    """Return what a Hugging Face model answers to each text alone, nothing padded, (rows, num_labels)."""

    @torch.no_grad()
    def run(model, tokenizer, texts, pairs=None, *, max_length: int = MAX_LENGTH) -> np.ndarray:
        rows = []
        for index, text in enumerate(texts):
            pair = None if pairs is None else [pairs[index]]
            inputs = tokenizer([text], pair, truncation=True, max_length=max_length, return_tensors="pt")
            rows.append(model(**inputs).logits[0].numpy())
        return np.stack(rows)

    return run
