"""Whether a checkpoint's tensors are those of the network that its config.json tells of."""

from collections.abc import Iterable, Mapping

from transformers import PreTrainedModel

from model.errors import CheckpointError

# What transformers tells of a load: names of tensors, beside those of another shape the shapes.
LoadingReport = Mapping[str, Iterable[str | tuple[str, ...]]]


def check_complete(report: LoadingReport, name: str) -> None:
    """Refuse a checkpoint whose tensors do not match its configuration exactly.

    Args:
        report: what `from_pretrained(output_loading_info=True)` returns beside the model.
        name: the checkpoint, for the message.

    Raises:
        CheckpointError: naming the first tensor that is missing or of another shape.
    """
    for kind in ("missing_keys", "mismatched_keys"):
        keys = _keys(report, kind)
        if keys:
            problem = kind.removesuffix("_keys")
            raise CheckpointError(
                f"{name!r} is incomplete: {len(keys)} tensors {problem}, {keys[0]!r} among them; "
                "is it a fine-tuned sequence classifier?"
            )


def check_nothing_unexpected(report: LoadingReport, name: str) -> None:
    """Refuse a checkpoint that holds more than its configuration says.

    Args:
        report: see `check_complete`.
        name: likewise.

    Raises:
        CheckpointError: saying how many tensors are too many.
    """
    if unexpected := _keys(report, "unexpected_keys"):
        raise CheckpointError(f"{name!r} has {len(unexpected)} tensors that its config.json does not name")


def check_network(report: LoadingReport, model: PreTrainedModel, name: str) -> None:
    """Refuse a checkpoint whose network is more than its configuration says: it would answer otherwise.

    Heads of other tasks, poolers that a classifier does not read, and constants that older versions of
    transformers saved beside the weights change no answer.

    Args:
        report: see `check_complete`.
        model: what was loaded.
        name: see `check_complete`.

    Raises:
        CheckpointError: naming the first weight that is too many.
    """
    # Encoders that were saved alone leave the prefix out.
    parts = (model.base_model_prefix, *(part for part, _ in model.base_model.named_children()))
    surplus = [
        key
        for key in _keys(report, "unexpected_keys")
        if key.split(".")[0] in parts and key.endswith(".weight") and "pooler" not in key
    ]
    if surplus:
        raise CheckpointError(
            f"{name!r} has {len(surplus)} weights that its config.json does not name, {surplus[0]!r} among "
            "them; are they of more layers?"
        )


def check_encoder(report: LoadingReport, prefix: str, name: str) -> None:
    """Refuse a checkpoint whose encoder, the pooler excepted, is not whole.

    Args:
        report: see `check_complete`.
        prefix: of the encoder's tensors.
        name: see `check_complete`.

    Raises:
        CheckpointError: naming the first tensor that is missing or of another shape.
    """
    missing = [key for key in _keys(report, "missing_keys") if "pooler" not in key]
    for problem, keys in (("missing", missing), ("mismatched", _keys(report, "mismatched_keys"))):
        damaged = [key for key in keys if key.startswith(f"{prefix}.")]
        if damaged:
            raise CheckpointError(
                f"{name!r} is incomplete: {len(damaged)} tensors {problem}, {damaged[0]!r} among them"
            )


def _keys(report: LoadingReport, kind: str) -> list[str]:
    """Return the names of tensors in a loading report; beside those of another shape stand the shapes."""
    return sorted(key if isinstance(key, str) else str(key[0]) for key in report.get(kind, ()))
