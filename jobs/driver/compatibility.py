"""Whether a model and soft labels go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.fastbert import FastBertForSequenceClassification
    from pipeline.results.soft_labels import SoftLabels


def check_labels_match_model(
    model: FastBertForSequenceClassification, name: str, labels: SoftLabels, labels_name: str
) -> None:
    """Refuse soft labels that do not fit a model.

    Args:
        model: the model.
        name: what the user calls it.
        labels: the soft labels.
        labels_name: what the user calls them.

    Raises:
        CheckpointError: if the labels, their order or the texts' length differ.
    """
    from model.errors import CheckpointError
    from model.messages import shown_labels
    from model.tokens.tokenization import position_limit

    if model.labels != labels.labels:
        same = (
            "the same labels in another order" if set(model.labels) == set(labels.labels) else "other labels"
        )
        raise CheckpointError(
            f"{name!r} has {same} than {labels_name!r}: "
            f"{shown_labels(model.labels)} against {shown_labels(labels.labels)}"
        )
    limit = position_limit(model.backbone, model.tokenizer)
    if labels.max_length > limit:
        raise CheckpointError(
            f"{name!r} takes {limit} tokens, but {labels_name!r} was made with "
            f"{labels.max_length}; label again with --max-length {limit}"
        )
