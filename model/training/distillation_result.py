"""How the training of branches went."""

from dataclasses import dataclass
from enum import StrEnum

from model.training.self_distillation import BranchQuality

# So much further from the teacher than on texts that it learnt from, a branch wants more texts.
_OVERFITTING_RATIO = 1.5


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
        layer: the layer it follows, from 1; 0 for the lexical branch.
        kl: mean KL(teacher || student) on the held-out texts, nats.
        agreement: share of these texts with the teacher's answer.
        train_kl: the KL on texts that it learnt from.
        fall: by which share the KL on held-out texts fell over the last rounds; None if there were too few,
            and for the lexical branch, whose learning rate was lowered until it fell no more.
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

    @classmethod
    def of(
        cls, held_out: BranchQuality, *, train_kl: float, fall: float | None, has_converged: bool
    ) -> "TrainedBranch":
        """Return how a branch ended, and what would help it.

        Args:
            held_out: how it does on texts held out.
            train_kl: see the attributes, as for what follows.
            fall: likewise.
            has_converged: likewise.
        """
        if not has_converged:
            advice = Advice.MORE_EPOCHS
        elif held_out.kl > _OVERFITTING_RATIO * train_kl:
            advice = Advice.MORE_TEXT
        else:
            advice = Advice.NOTHING
        return cls(
            layer=held_out.layer,
            kl=held_out.kl,
            agreement=held_out.agreement,
            train_kl=train_kl,
            fall=fall,
            has_converged=has_converged,
            advice=advice,
        )


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
