"""How branches are trained. Light: nothing here imports torch."""

import math
from dataclasses import dataclass
from enum import StrEnum

from model.checks import check_count, check_positive, check_seed
from model.errors import ParameterError

# However slowly the branches still get better; of a small corpus, more than enough for so many steps.
_MAX_EPOCHS = 50
_STEPS_OF_SMALL_CORPUS = 2500


class KlDirection(StrEnum):
    """Which way the Kullback-Leibler divergence is taken.

    The authors' code computes KL(teacher || student); the paper's equation 5 is written the other way round.
    """

    TEACHER_STUDENT = "teacher-student"
    STUDENT_TEACHER = "student-teacher"


def max_epochs(steps_per_epoch: int) -> int:
    """Return how many passes branches get to converge in.

    >>> [max_epochs(steps) for steps in (1, 10, 100, 10_000)]
    [2500, 250, 50, 50]
    """
    return max(_MAX_EPOCHS, -(-_STEPS_OF_SMALL_CORPUS // steps_per_epoch))


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How branches are trained.

    Attributes:
        epochs: passes over the texts; None for as many as each branch gets better by, at most `max_epochs`,
            and of a large corpus less than one.
        learning_rate: of AdamW, after a warm-up.
        batch_size: texts per step.
        seed: of the order of the texts.
        kl_direction: which way the divergence from the teacher is taken.
        hard_label_weight: weight of the cross-entropy with the teacher's answer, added to the divergence.
        true_label_weight: weight of the cross-entropy with true labels, where the texts come with some.
        lexical_size: megabytes that the lexical branch may take; 0 for none.
    """

    epochs: int | None = None
    learning_rate: float = 1e-3
    batch_size: int = 64
    seed: int = 0
    kl_direction: KlDirection = KlDirection.TEACHER_STUDENT
    hard_label_weight: float = 0.0
    # Chosen by measurement (docs/performance.md): larger ones let promises save less.
    true_label_weight: float = 0.2
    lexical_size: float = 64.0

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        if self.epochs is not None:
            check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        check_positive("learning_rate", self.learning_rate)
        check_seed(self.seed)
        if self.kl_direction not in list(KlDirection):
            raise ParameterError(
                f"`kl_direction` {self.kl_direction!r} is not one of {', '.join(KlDirection)}"
            )
        for name in ("hard_label_weight", "true_label_weight"):
            if not 0 <= (weight := getattr(self, name)) < math.inf:
                raise ParameterError(f"`{name}` {weight} is not 0 or above")
        if not 0 <= self.lexical_size < math.inf:
            raise ParameterError(f"`lexical_size` {self.lexical_size} is not 0 or above")
