"""How long and how fast a model is trained. Light: nothing here imports torch."""

import math
from dataclasses import dataclass

from model.checks import check_count, check_positive, check_seed
from model.errors import ParameterError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long, how fast and from which seed a model is trained.

    Attributes:
        epochs: passes over the data.
        learning_rate: highest, reached at the end of the warm-up.
        batch_size: texts per step.
        seed: of the order of the texts and of dropout.
        weight_decay: of matrices; biases and norms are left alone.
        warmup: share of all steps over which the learning rate rises from 0; it then falls to 0.
        max_grad_norm: the largest norm of a part's gradients together; they are scaled down to it.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int = 0
    weight_decay: float = 0.01
    warmup: float = 0.1
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        """Check each number.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        check_positive("learning_rate", self.learning_rate)
        if not 0 <= self.warmup <= 1:
            raise ParameterError(f"`warmup` {self.warmup} is not a share of the steps, 0 to 1")
        if not 0 <= self.weight_decay < math.inf:
            raise ParameterError(f"`weight_decay` {self.weight_decay} is below 0")
        if not self.max_grad_norm > 0:
            raise ParameterError(f"`max_grad_norm` {self.max_grad_norm} is not above 0")
        check_seed(self.seed)
