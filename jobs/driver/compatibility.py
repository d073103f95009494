"""Whether a model and soft labels go together."""

from model.errors import CheckpointError
from model.fastbert import FastBertForSequenceClassification
from model.messages import format_labels
from model.tokens.max_length import position_limit
from pipeline.results.soft_labels import SoftLabels


def check_same_length(model: FastBertForSequenceClassification, name: str, labels: SoftLabels) -> None:
    """Refuse soft labels of texts that were cut to another length than the model cuts them to.

    Raises:
        CheckpointError: naming both lengths.
    """
    if labels.max_length != model.config.max_length:
        raise CheckpointError(
            f"{name!r} cuts texts to {model.config.max_length} tokens, but {labels.name!r} to "
            f"{labels.max_length}; label again with `max_length` {model.config.max_length}"
        )


def check_labels_match_model(model: FastBertForSequenceClassification, name: str, labels: SoftLabels) -> None:
    """Refuse soft labels that do not fit a model.

    Args:
        model: the model.
        name: what the user calls it.
        labels: the soft labels.

    Raises:
        CheckpointError: if the labels, their order or the texts' length differ.
    """
    if model.labels != labels.labels:
        same = (
            "the same labels in another order" if set(model.labels) == set(labels.labels) else "other labels"
        )
        raise CheckpointError(
            f"{name!r} has {same} than {labels.name!r}: "
            f"{format_labels(model.labels)} against {format_labels(labels.labels)}"
        )
    if model.task is not labels.task:
        raise CheckpointError(f"{name!r} is for {model.task}, and {labels.name!r} for {labels.task}")
    limit = position_limit(model.backbone, model.tokenizer)
    if labels.max_length > limit:
        raise CheckpointError(
            f"{name!r} takes {limit} tokens, but {labels.name!r} was made with "
            f"{labels.max_length}; label again with `max_length` {limit}"
        )
