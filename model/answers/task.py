"""What a classifier's logits mean, by Hugging Face's `problem_type`. Light: nothing here imports torch."""

from enum import StrEnum


class Task(StrEnum):
    """What the logits of a classifier mean.

    ONE_LABEL: one of several labels holds; softmax of the logits.
    LABEL_SET: several labels may hold at once, or none; sigmoid of each logit.
    SCORE: the one logit is a score, a real number.
    """

    ONE_LABEL = "single_label_classification"
    LABEL_SET = "multi_label_classification"
    SCORE = "regression"

    def num_outputs(self, num_labels: int) -> int:
        """Return how many numbers an exit answers with: a logit per label; of a score its value and spread.

        A score's are what is expected, and the logarithm of the variance around that.

        >>> Task.SCORE.num_outputs(1), Task.LABEL_SET.num_outputs(5)
        (2, 5)
        """
        return 2 if self is Task.SCORE else num_labels

    def describe(self, num_labels: int) -> str:
        """Return what a model answers with, for a line of settings.

        >>> [task.describe(5) for task in Task]
        ['5 labels', '5 labels, several at once', 'a score']
        """
        ends = {Task.ONE_LABEL: "", Task.LABEL_SET: ", several at once"}
        return "a score" if self is Task.SCORE else f"{num_labels} labels{ends[self]}"

    @classmethod
    def named(cls, name: str) -> "Task":
        """Return the task of a command line's word.

        >>> Task.named("multi-label") is Task.LABEL_SET
        True
        """
        return {"single-label": cls.ONE_LABEL, "multi-label": cls.LABEL_SET, "regression": cls.SCORE}[name]
