"""Checkpoints: loaded whole or refused.

Code that comes with one is never run. Unless every load says `trust_remote_code=False`, transformers asks on
the terminal, and takes a `y` on standard input for leave.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as hf_logging

from model.answers.task import Task
from model.checkpoints.completeness import LoadingReport, check_complete, check_encoder, check_network
from model.checkpoints.fingerprint import has_only_pickles
from model.checkpoints.foreign import foreign
from model.checkpoints.layer_count import count_layers
from model.checkpoints.settings import check_settings
from model.checks import is_unicode
from model.errors import CheckpointError


def load_config(directory: Path) -> PretrainedConfig:
    """Return the configuration in `directory`.

    Raises:
        CheckpointError: if it cannot be read or is of a kind that transformers does not know.
    """
    name = str(directory)
    with foreign(loading_refusal(directory, name)):
        weighed_layers = count_layers(directory)
    with foreign(f"{name!r} has no usable config.json"):
        check_settings(json.loads((directory / "config.json").read_text("utf-8")), weighed_layers)
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    for network in (config, getattr(config, "backbone_config", config)):
        # In chunks a layer works in another order, to the same answers; and takes no text but of a multiple
        # of their length.
        if getattr(network, "chunk_size_feed_forward", 0) != 0:
            network.chunk_size_feed_forward = 0
    return config


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer in `directory`.

    Raises:
        CheckpointError: if it is missing, unreadable, cannot pad, or does not fit the network that
            config.json tells of.
    """
    # AutoTokenizer makes an empty one up where the files are missing.
    if not any(path.is_file() for name in _TOKENIZER_FILES for path in directory.glob(name)):
        known = ", ".join(_TOKENIZER_FILES)
        raise CheckpointError(f"{str(directory)!r} has no tokenizer files (one of {known})")
    # Without it AutoTokenizer reads it by itself, and takes one that it does not know for any.
    config = load_config(directory)
    with foreign(f"{str(directory)!r} has no usable tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(directory, config=config, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        raise CheckpointError(f"the tokenizer in {str(directory)!r} has no padding token")
    if not isinstance(tokenizer.model_max_length, int | float):
        raise CheckpointError(
            f"the tokenizer in {str(directory)!r} has a 'model_max_length' that is no number"
        )
    _check_vocabulary(tokenizer, getattr(config, "backbone_config", config), str(directory))
    return tokenizer


def _check_vocabulary(tokenizer: PreTrainedTokenizerBase, network: PretrainedConfig, name: str) -> None:
    """Refuse a tokenizer that would fail at the first text with a token that the network does not embed."""
    # A network that does not say its size embeds no tokens by number.
    vocab_size = getattr(network, "vocab_size", None)
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if vocab_size is not None and highest >= vocab_size:
        raise CheckpointError(
            f"the tokenizer in {name!r} gives ids up to {highest}, but the network embeds {vocab_size} "
            "tokens; is it another model's tokenizer?"
        )


# The last is SentencePiece's: spiece.model, spm.model, sentencepiece.bpe.model.
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def label_names(config: PretrainedConfig) -> tuple[str, ...]:
    """Return the label names in the order of the logits."""
    return tuple(str(config.id2label[index]) for index in range(config.num_labels))


def load_classifier(directory: Path) -> PreTrainedModel:
    """Load a sequence classifier of any family, in eval mode and float32, every tensor from the checkpoint.

    Raises:
        CheckpointError: if tensors are missing, the network has more of them than config.json says, or it
            answers with neither labels nor a score.
    """
    config = load_config(directory)
    task_of(config, str(directory))
    model, report = _load(directory, config)
    check_complete(report, str(directory))
    check_network(report, model, str(directory))
    return model.eval()


def load_for_finetuning(
    directory: Path,
    labels: Sequence[str],
    *,
    seed: int,
    problem_type: str = "single_label_classification",
) -> PreTrainedModel:
    """Load a pretrained encoder, or a classifier of other labels, with a head for `labels`, in float32.

    Args:
        directory: of the checkpoint.
        labels: label names in the order of the logits; of a regression one, what its number is called.
        seed: of what the checkpoint lacks: the head, and maybe the pooler under it.
        problem_type: what it is for, as Hugging Face calls it.

    Raises:
        CheckpointError: if a tensor of the encoder is missing, of another shape, or one that config.json
            does not name.
    """
    config = load_config(directory)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: place for place, label in enumerate(labels)}
    config.problem_type = problem_type
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, report = _load(directory, config, ignore_mismatched_sizes=True)
    check_encoder(report, model.base_model_prefix, str(directory))
    check_network(report, model, str(directory))
    return model


def _load(
    directory: Path, config: PretrainedConfig, **options: object
) -> tuple[PreTrainedModel, LoadingReport]:
    """Return a float32 sequence classifier and its loading report."""
    options |= {"config": config, "dtype": "float32", "output_loading_info": True}
    with silence_transformers(), foreign(loading_refusal(directory, str(directory))):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            directory, trust_remote_code=False, **options
        )
    return model, report


def loading_refusal(directory: Path, name: str) -> str:
    """Return the beginning of a line about weights that cannot be loaded.

    Args:
        directory: of the checkpoint.
        name: what the user calls it.
    """
    kind = " from its pickled weights" if has_only_pickles(directory) else ""
    return f"{name!r} cannot be loaded{kind}"


def task_of(config: PretrainedConfig, name: str = "") -> Task:
    """Return what a model's logits mean, as Hugging Face reads its configuration.

    Where `problem_type` is not said, a single logit is a score.

    Args:
        config: of the model.
        name: what the user calls it; empty for what its configuration does.

    Raises:
        CheckpointError: if they mean nothing that is known, or its labels are not numbered, are
            no text, or two are alike.
    """
    name, num_labels = name or config.name_or_path or "the model", config.num_labels
    problem_type = config.problem_type or (Task.SCORE if num_labels == 1 else Task.ONE_LABEL)
    if problem_type not in list(Task):
        raise CheckpointError(f"{name!r} is for {problem_type}; known are {', '.join(Task)}")
    task = Task(problem_type)
    if task is Task.ONE_LABEL and num_labels < 2:
        raise CheckpointError(
            f"{name!r} chooses one of {num_labels} labels; a classifier of two labels or more is needed"
        )
    if task is Task.SCORE and num_labels != 1:
        raise CheckpointError(f"{name!r} has {num_labels} scores; a regression of one is needed")
    if set(config.id2label) != set(range(num_labels)):
        raise CheckpointError(f"{name!r} does not number its labels from 0 on in its config.json")
    names = label_names(config)
    if not_text := [name for name in names if not is_unicode(name)]:
        raise CheckpointError(
            f"{name!r} has a label in its config.json that is no text, which no file could hold: "
            f"{not_text[0]!r}"
        )
    if len(set(names)) != len(names):
        raise CheckpointError(f"{name!r} names two labels alike in its config.json: {', '.join(names)}")
    return task


# What is set is the process's own, and threads that load at once overlap in any order: one at a time sets it.
_SILENCE = RLock()


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Keep transformers' own reports and progress bars off the screen: what is wrong is raised instead."""
    with _SILENCE:
        level, had_bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
        hf_logging.set_verbosity_error()
        hf_logging.disable_progress_bar()
        try:
            yield
        finally:
            hf_logging.set_verbosity(level)
            if had_bars:
                hf_logging.enable_progress_bar()
