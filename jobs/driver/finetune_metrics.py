"""What a fine-tuning was, and how its classifier does: `metrics.json` beside it."""

import hashlib
from dataclasses import dataclass, replace

from jobs.configs.finetune import FinetuneConfig
from model.training.finetuning.label_quality import LabelQuality
from model.training.finetuning.learner import FinetuningEpoch
from model.training.finetuning.quality import Quality
from model.training.labelled_texts import LabelledTexts
from model.version import NUMERICS_VERSION


@dataclass(frozen=True, kw_only=True)
class FinetuneJob:
    """All that the classifier's weights depend on.

    Attributes:
        config: what was asked for, but where rows are read from and the classifier is written to.
        model: hash of the encoder's checkpoint.
        rows: digest of what was trained on.
        eval_rows: digest of what the epochs are judged by; empty without.
        device: cpu or cuda.
        numerics_version: of what computes.
    """

    config: FinetuneConfig
    model: str
    rows: str
    eval_rows: str
    device: str
    numerics_version: int = NUMERICS_VERSION


@dataclass(frozen=True, kw_only=True)
class FinetuneMetrics:
    """What was asked for and how the classifier did, epoch by epoch; `metrics.json` holds it.

    Attributes:
        config: what was asked for, but where it is written.
        num_rows: rows trained on.
        num_rejected: rows left out, for want of a text or a label.
        num_eval_rows: rows that the classifier is judged by; 0 without.
        epochs: loss and quality after each epoch.
        best_epoch: the one that was kept, from 1; None without rows to judge by, for the last.
        quality: on these rows, of the epoch that was kept; None without.
        by_label: likewise, for each label in the order of the logits; empty without, and of a regression.
        confusion: these rows by label and answer, in the order of the logits; empty without, and unless one
            of several labels is chosen.
    """

    config: FinetuneConfig
    num_rows: int
    num_rejected: int
    num_eval_rows: int
    epochs: tuple[FinetuningEpoch, ...]
    best_epoch: int | None
    quality: Quality | None
    by_label: tuple[LabelQuality, ...]
    confusion: tuple[tuple[int, ...], ...]


def without_places(config: FinetuneConfig) -> FinetuneConfig:
    """Return a configuration without what changes nothing in the classifier.

    The same training leaves the same bytes wherever they are written to, killed in between or not.
    """
    return replace(config, output="", overwrite=False, resume=False)


def digest(rows: LabelledTexts | None) -> str:
    """Return a hash of texts and labels, in their order; empty for none."""
    if rows is None:
        return ""
    pairs = rows.text_pairs or [""] * len(rows)
    hashed = hashlib.sha256()
    for each in zip(rows.texts, pairs, rows.labels, strict=True):
        hashed.update(repr(each).encode())
    return hashed.hexdigest()
