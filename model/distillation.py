"""Self-distillation: the branches learn the teacher's answers from the frozen backbone's states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from model.all_exits import all_exit_logits, layer_states
from model.packing import micro_batches
from model.tokenization import TokenizedTexts

if TYPE_CHECKING:
    from model.fastbert import FastBertForSequenceClassification


class KlDirection(StrEnum):
    """Which way the Kullback-Leibler divergence is taken.

    The authors' code computes KL(teacher || student); the paper's equation 5 is written the other way round.
    """

    TEACHER_STUDENT = "teacher-student"
    STUDENT_TEACHER = "student-teacher"


def self_distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    direction: KlDirection = KlDirection.TEACHER_STUDENT,
    hard_label_weight: float = 0.0,
) -> Tensor:
    """Return how far one branch is from the teacher, averaged over the texts.

    Args:
        student_logits: (batch, num_labels).
        teacher_logits: (batch, num_labels).
        direction: see `KlDirection`.
        hard_label_weight: weight of the cross-entropy with the teacher's answer, added to the divergence.

    Returns:
        Scalar, in nats, float32 (Liu et al. 2020, equation 5; its sum over branches is equation 6).
    """
    student = student_logits.float().log_softmax(dim=-1)
    teacher = teacher_logits.float().log_softmax(dim=-1)
    target, given = (teacher, student) if direction is KlDirection.TEACHER_STUDENT else (student, teacher)
    loss = functional.kl_div(given, target, reduction="batchmean", log_target=True)
    if hard_label_weight:
        loss = loss + hard_label_weight * functional.nll_loss(student, teacher_logits.argmax(dim=-1))
    return loss


def branch_losses(
    model: FastBertForSequenceClassification,
    texts: TokenizedTexts,
    teacher_logits: Tensor,
    *,
    direction: KlDirection,
    hard_label_weight: float,
) -> Tensor:
    """Return the loss of every branch on one batch; only the branches get gradients.

    Args:
        model: its backbone in eval mode, so that the branches see the states that they will exit from.
        texts: longest first, one batch.
        teacher_logits: (batch, num_labels), in the order of `texts`.
        direction: see `KlDirection`.
        hard_label_weight: see `self_distillation_loss`.

    Returns:
        (num_layers - 1,) float32; their sum is what is minimised.
    """
    (batch,) = micro_batches(texts.lengths, token_budget=len(texts) * int(texts.lengths[0]))
    states = layer_states(model, texts, batch)
    return torch.stack(
        [
            self_distillation_loss(
                branch(hidden, padding),
                teacher_logits,
                direction=direction,
                hard_label_weight=hard_label_weight,
            )
            # The branches are one fewer than the layers: the last layer is not even run.
            for branch, (hidden, padding) in zip(model.branches, states, strict=False)
        ]
    )


@dataclass(frozen=True, kw_only=True)
class BranchQuality:
    """How a branch stands to the teacher on held-out texts.

    Attributes:
        layer: the layer it follows, from 1.
        kl: mean KL(teacher || student), nats.
        agreement: share of texts with the teacher's answer.
    """

    layer: int
    kl: float
    agreement: float


def branch_qualities(
    model: FastBertForSequenceClassification,
    texts: TokenizedTexts,
    teacher_logits: npt.NDArray[np.float32],
    *,
    token_budget: int,
) -> list[BranchQuality]:
    """Compare every branch with the teacher.

    Args:
        model: in eval mode.
        texts: at least one.
        teacher_logits: (rows, num_labels), in the order of `texts`.
        token_budget: tokens of a micro-batch, padding included.
    """
    exits = torch.from_numpy(all_exit_logits(model, texts, token_budget=token_budget))
    teacher = torch.from_numpy(teacher_logits)
    return [
        BranchQuality(
            layer=layer + 1,
            kl=float(self_distillation_loss(exits[:, layer], teacher)),
            agreement=float((exits[:, layer].argmax(1) == teacher.argmax(1)).float().mean()),
        )
        for layer in range(model.num_layers - 1)
    ]
