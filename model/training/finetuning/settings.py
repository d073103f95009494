"""What a classifier is fine-tuned for, and how it is judged. Light: nothing here imports torch."""

from dataclasses import dataclass
from enum import StrEnum

from model.answers.task import Task
from model.checks import check_count
from model.errors import ParameterError


class BestBy(StrEnum):
    """What says which epoch was the best, on the rows that a classifier is judged by."""

    ACCURACY = "accuracy"
    MACRO_F1 = "macro-f1"
    LOSS = "loss"
    SPEARMAN = "spearman"

    @classmethod
    def choose(cls, requested: "BestBy | None", task: Task) -> "BestBy":
        """Return what was asked for, else what suits the task.

        Several labels at once are judged by their loss, and not by F1: while labels are learnt, no
        probability may reach one half for epochs.

        Raises:
            ParameterError: if the task has no such number.
        """
        known = _JUDGES[task]
        if requested is None:
            return known[0]
        if requested not in known:
            raise ParameterError(f"`best_by` {requested} is none of {', '.join(known)}, which {task} has")
        return requested


_JUDGES = {
    Task.ONE_LABEL: (BestBy.ACCURACY, BestBy.MACRO_F1, BestBy.LOSS),
    Task.LABEL_SET: (BestBy.LOSS, BestBy.MACRO_F1, BestBy.ACCURACY),
    Task.SCORE: (BestBy.LOSS, BestBy.SPEARMAN),
}


class ClassWeights(StrEnum):
    """How much a row counts in the loss."""

    NONE = "none"
    BALANCED = "balanced"

    def check(self, task: Task) -> None:
        """Refuse weights of classes where there are none.

        Raises:
            ParameterError: of a regression.
        """
        if self is not ClassWeights.NONE and task is Task.SCORE:
            raise ParameterError(f"`class_weights` {self}: a regression has no classes to weigh")


# By the width of the hidden states: the widest that a rate is for, and the rate. Of BERT's two sizes, 768 and
# 1024, as is usual (Devlin et al. 2019 try 2e-5 to 5e-5); narrower networks learn next to nothing in a few
# epochs at such rates (Turc et al. 2019 go up to 3e-4; measured at 384, docs/performance.md).
_LEARNING_RATES = ((384, 2e-4), (512, 1e-4), (768, 3e-5))
_LARGEST_RATE = 1e-5


def default_learning_rate(hidden_size: int) -> float:
    """Return the highest learning rate that an encoder is fine-tuned with, where the user does not say.

    >>> [default_learning_rate(hidden_size) for hidden_size in (128, 384, 512, 768, 1024)]
    [0.0002, 0.0002, 0.0001, 3e-05, 1e-05]
    """
    return next((rate for widest, rate in _LEARNING_RATES if hidden_size <= widest), _LARGEST_RATE)


@dataclass(frozen=True, kw_only=True)
class FinetuningSettings:
    """What else a fine-tuning is told, besides how long and how fast.

    Attributes:
        best_by: what says which epoch was the best; None for what suits the task. Of equal ones that of the
            lower loss on these rows is kept.
        class_weights: balanced: rows of a label that is n times as rare count n times as much, all labels
            together as much as before; of several labels at once, the positives of each as much as its
            negatives.
        gradient_accumulation: batches whose gradients are added up for one step.
    """

    best_by: BestBy | None = None
    class_weights: ClassWeights = ClassWeights.NONE
    gradient_accumulation: int = 1

    def __post_init__(self) -> None:
        """Check the number.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        check_count("gradient_accumulation", self.gradient_accumulation)

    def check(self, task: Task) -> None:
        """Refuse what does not go with a task.

        Raises:
            ParameterError: naming the parameter and what goes with it.
        """
        BestBy.choose(self.best_by, task)
        self.class_weights.check(task)
