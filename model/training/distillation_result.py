"""How the training of branches went."""

from dataclasses import dataclass
from enum import StrEnum

from model.training.self_distillation import BranchQuality


@dataclass(frozen=True, kw_only=True)
class RoundQualities:
    """How the branches stand to the teacher after a round of training, on texts held out.

    Attributes:
        step: steps so far.
        epochs: passes over the texts so far; of a large corpus less than one.
        branches: the running averages, one per layer but the last, in their order.
    """

    step: int
    epochs: float
    branches: tuple[BranchQuality, ...]


class Advice(StrEnum):
    """What would bring a branch nearer to the teacher."""

    NOTHING = "nothing"
    MORE_EPOCHS = "more epochs"
    MORE_TEXT = "more text"


@dataclass(frozen=True, kw_only=True)
class TrainedBranch:
    """How a branch ended.

    Attributes:
        layer: the layer it follows, from 1.
        kl: mean KL(teacher || student) on the held-out texts, nats.
        agreement: share of these texts with the teacher's answer.
        train_kl: the KL on texts that it learnt from.
        fall: by which share the KL on held-out texts fell over the last rounds; None if there were too few.
        has_converged: whether that is next to nothing.
        advice: what would help.
    """

    layer: int
    kl: float
    agreement: float
    train_kl: float
    fall: float | None
    has_converged: bool
    advice: Advice


@dataclass(frozen=True, kw_only=True)
class DistillationResult:
    """How the training of branches went.

    Attributes:
        epochs: passes over the texts.
        rounds: how the branches stood after each round; those of an earlier run, that was killed, are not
            among them.
        branches: how each of them ended; none where nothing is held out.
    """

    epochs: float
    rounds: list[RoundQualities]
    branches: tuple[TrainedBranch, ...]
