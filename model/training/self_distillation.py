"""Self-distillation: the branches learn the teacher's answers from the frozen backbone's states."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.answers.answer import answer_of
from model.answers.gaussian import score_loss, spread_at
from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.engine.engine import Engine
from model.exits.exit_logits import LayerStates, all_exit_logits
from model.tokens.tokenization import TokenizedTexts
from model.training.distillation_config import KlDirection
from model.training.labelled_texts import NO_LABEL
from model.training.ranks import ONE_PROCESS, Ranks


def self_distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    task: Task = Task.ONE_LABEL,
    direction: KlDirection = KlDirection.TEACHER_STUDENT,
    hard_label_weight: float = 0.0,
    true_labels: Tensor | None = None,
    true_label_weight: float = 0.0,
) -> Tensor:
    """Return how far one branch is from the teacher, averaged over the texts.

    Of labels of which one holds it is the divergence of their distributions (Liu et al. 2020, equation 5; its
    sum over branches is equation 6), of sets of labels the sum of that of each label; of scores how far the
    teacher's is from the value and the variance that the branch expects, see `score_loss`.

    Args:
        student_logits: (batch, num_outputs).
        teacher_logits: (batch, num_labels).
        task: what the logits mean.
        direction: see `KlDirection`; of scores there is one.
        hard_label_weight: weight of the cross-entropy with the teacher's answer, added to the divergence; not
            of scores.
        true_labels: (batch,) int64, `NO_LABEL` of a text that has none; None where none has one, and for
            any task but that of one label.
        true_label_weight: weight of the cross-entropy with these, added likewise: a text without a label adds
            nothing, and one with a label as much however many of the others have one.

    Returns:
        Scalar, in nats, of scores see `score_loss`; float32.
    """
    if task is Task.SCORE:
        return score_loss(student_logits.float(), teacher_logits[:, 0].float()).mean()
    if task is Task.LABEL_SET:
        return _set_loss(student_logits.float(), teacher_logits.float(), direction, hard_label_weight)
    student = student_logits.float().log_softmax(dim=-1)
    teacher = teacher_logits.float().log_softmax(dim=-1)
    first, second = (teacher, student) if direction == KlDirection.TEACHER_STUDENT else (student, teacher)
    # KL(first || second): torch's function takes them the other way round.
    loss = functional.kl_div(second, first, reduction="batchmean", log_target=True)
    if hard_label_weight:
        loss = loss + hard_label_weight * functional.nll_loss(student, teacher_logits.argmax(dim=-1))
    if true_labels is not None and true_label_weight:
        wrong = functional.nll_loss(student, true_labels, ignore_index=NO_LABEL, reduction="sum")
        loss = loss + true_label_weight * wrong / len(student)
    return loss


def _set_loss(student: Tensor, teacher: Tensor, direction: KlDirection, hard_label_weight: float) -> Tensor:
    """Return the divergence between sets of labels, each of which holds by itself."""
    first, second = (teacher, student) if direction == KlDirection.TEACHER_STUDENT else (student, teacher)
    log_odds = functional.logsigmoid(first), functional.logsigmoid(-first)
    others = functional.logsigmoid(second), functional.logsigmoid(-second)
    terms = [own.exp() * (own - other) for own, other in zip(log_odds, others, strict=True)]
    loss = (terms[0] + terms[1]).sum(dim=-1).mean()
    if hard_label_weight:
        sides = (teacher >= 0).float()
        cross_entropy = functional.binary_cross_entropy_with_logits(student, sides, reduction="none")
        loss = loss + hard_label_weight * cross_entropy.sum(dim=-1).mean()
    return loss


def branch_gradients(
    branches: Iterable[nn.Module],
    engine: Engine,
    states: LayerStates,
    rows: slice | npt.NDArray[np.int64],
    teacher_logits: Tensor,
    *,
    is_left_out: Sequence[bool],
    direction: KlDirection,
    hard_label_weight: float,
    true_labels: Tensor | None = None,
    true_label_weight: float = 0.0,
    share: float = 1.0,
) -> Tensor:
    """Return the loss of every branch on one batch, and add its gradients to the branch's own.

    Args:
        branches: what is trained, one per layer but the last, in float32.
        engine: the backbone made ready; branches are computed side by side where it computes texts so.
        states: what the branches see: of the backbone in eval mode, as when texts exit.
        rows: the batch's among the texts of `states`.
        teacher_logits: (batch, num_labels) of these rows.
        is_left_out: (branches,) which of them learn nothing.
        direction: see `KlDirection`.
        hard_label_weight: see `self_distillation_loss`.
        true_labels: (batch,) likewise.
        true_label_weight: likewise.
        share: of a batch, that these rows are; losses and gradients are such a share of their own.

    Returns:
        (num_layers - 1,) float32, 0 of a branch that is left out; their sum is what is minimised.
    """
    indices, attention_mask = states.batch_indices(rows)
    # In the format in which branches will run; the range of float16 would take losses that are scaled up.
    in_bfloat16 = engine.execution.dtype is torch.bfloat16

    def backward(layer: int, branch: nn.Module) -> Tensor:
        if is_left_out[layer - 1]:
            return torch.zeros((), device=teacher_logits.device)
        hidden = states.hidden_states(layer, indices)
        with torch.autocast(hidden.device.type, dtype=torch.bfloat16, enabled=in_bfloat16):
            logits = branch(hidden if in_bfloat16 else hidden.float(), attention_mask)
        loss = share * self_distillation_loss(
            logits,
            teacher_logits,
            task=engine.task,
            direction=direction,
            hard_label_weight=hard_label_weight,
            true_labels=true_labels,
            true_label_weight=true_label_weight,
        )
        loss.backward()
        return loss.detach()

    return torch.stack(engine.parallel_map(lambda item: backward(*item), enumerate(branches, start=1)))


@dataclass(frozen=True, kw_only=True)
class BranchQuality:
    """How a branch stands to the teacher on held-out texts.

    Attributes:
        layer: the layer it follows, from 1; 0 for the lexical branch.
        kl: mean KL(teacher || student), nats; of scores the spread that it comes to, see `of`.
        agreement: share of texts with the teacher's answer; of scores the share of their variance that the
            branch knows.
    """

    layer: int
    kl: float
    agreement: float

    @classmethod
    def of(
        cls, layer: int, logits: Tensor, teacher_logits: Tensor, *, task: Task = Task.ONE_LABEL
    ) -> "BranchQuality":
        """Compare a branch with the teacher.

        The loss of scores has no zero. What is told in its place is the standard deviation at which a
        branch that knows it, and errs by it everywhere, has the same, in the units that were learnt in.

        Args:
            layer: see the attributes.
            logits: (rows, num_outputs) of the branch, at least one row.
            teacher_logits: (rows, num_labels) of the teacher.
            task: what the logits mean.
        """
        loss = float(self_distillation_loss(logits, teacher_logits, task=task))
        if task is Task.SCORE:
            unknown = (logits[:, 0] - teacher_logits[:, 0]).square().mean()
            variance = teacher_logits[:, 0].var(correction=0)
            # Where there is nothing to know, none of it is.
            agreement = float(1 - unknown / variance) if variance > 0 else 0.0
            return cls(layer=layer, kl=spread_at(loss), agreement=agreement)
        answer = answer_of(AnswerRule(task=task), [str(place) for place in range(logits.shape[1])])
        differs = answer.differs(logits, teacher_logits)
        return cls(layer=layer, kl=loss, agreement=float((~differs).float().mean()))


def branch_qualities(
    engine: Engine,
    texts: TokenizedTexts,
    teacher_logits: npt.NDArray[np.float32],
    *,
    ranks: Ranks = ONE_PROCESS,
) -> list[BranchQuality]:
    """Compare every branch with the teacher.

    Args:
        engine: the FastBERT made ready, with the branches as they now are.
        texts: at least one.
        teacher_logits: (rows, num_labels), in the order of `texts`.
        ranks: the processes; each runs some of the texts, and all return what the first one finds.
    """
    own = ranks.rows_of(len(texts))
    found = torch.from_numpy(all_exit_logits(engine, texts.take(own)))
    exits = found.new_zeros(len(texts), *found.shape[1:])
    exits[own] = found
    # Exact, and so in any order: all summands but one are 0.
    ranks.sum_(exits)
    teacher = torch.from_numpy(teacher_logits)
    qualities = [
        BranchQuality.of(layer, exits[:, place], teacher, task=engine.task)
        for place, layer in enumerate(engine.exits[:-1])
    ]
    return ranks.from_first(qualities)
