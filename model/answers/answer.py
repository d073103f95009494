"""Answers: functions from logits to something that can be compared with the full model's.

Each kind says when two differ, what a text is called, how likely the full model answers otherwise than an
exit, and how well an exit knows that: what its scaling is fitted by.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import log

import torch
from torch import Tensor
from torch.nn import functional

from model.answers.rule import AnswerRule, Cut
from model.answers.scaling import UNSCALED, Scaling
from model.answers.tail import chance_beyond
from model.answers.task import Task
from model.answers.uncertainty import normalised_entropy
from model.errors import ParameterError

# The logarithm of the variance of what is exact: the full model's own score.
EXACT_LOG_VARIANCE = -30.0
_SET_CUT = 0.5


class Answer(ABC):
    """What is compared with the full model.

    Logits are (..., num_outputs), of any floating dtype: of an exit; of the full model a score's spread may
    be missing.

    Attributes:
        names: what a text may be called, (K,).
    """

    names: tuple[str, ...]

    @abstractmethod
    def calls(self, logits: Tensor) -> Tensor:
        """Return what each text is called, (..., K) bool, in the order of `names`."""

    def differs(self, logits: Tensor, full_depth: Tensor) -> Tensor:
        """Return whether two answers are different ones, (...) bool.

        Args:
            logits: of an exit.
            full_depth: of the full model, broadcast to these.
        """
        return (self.calls(logits) != self.calls(full_depth)).any(dim=-1)

    @abstractmethod
    def uncertainty(self, logits: Tensor, scaling: Scaling = UNSCALED) -> Tensor:
        """Return how unsure an exit is of its answer, (...) float32 in [0, 1]; NaN of NaN.

        Args:
            logits: of the exit.
            scaling: of the exit.
        """

    def confidence(self, logits: Tensor, scaling: Scaling = UNSCALED) -> Tensor:
        """Return how likely the full model answers the same, as the exit would have it, (...) float32.

        Args:
            logits: of the exit.
            scaling: of the exit.
        """
        return 1 - self.uncertainty(logits, scaling)

    @abstractmethod
    def loss(self, logits: Tensor, full_depth: Tensor, scaling: Scaling) -> Tensor:
        """Return how unlikely the full model's answers are to an exit, in nats, the mean over all texts.

        Args:
            logits: of the exit.
            full_depth: of the full model.
            scaling: of the exit.
        """


class OneLabel(Answer):
    """The label of the highest logit; its uncertainty is the normalised entropy (Liu et al. 2020, eq. 7).

    A scaling is one temperature.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Answer with one of some labels."""
        self.names = tuple(labels)

    def calls(self, logits: Tensor) -> Tensor:
        """See `Answer.calls`: one of them holds."""
        return functional.one_hot(logits.argmax(dim=-1), len(self.names)).bool()

    def differs(self, logits: Tensor, full_depth: Tensor) -> Tensor:
        """See `Answer.differs`."""
        return logits.argmax(dim=-1) != full_depth.argmax(dim=-1)

    def uncertainty(self, logits: Tensor, scaling: Scaling = UNSCALED) -> Tensor:
        """See `Answer.uncertainty`."""
        return normalised_entropy(logits / scaling.temperature)

    def confidence(self, logits: Tensor, scaling: Scaling = UNSCALED) -> Tensor:
        """See `Answer.confidence`: the label's probability."""
        return (logits.float() / scaling.temperature).softmax(dim=-1).amax(dim=-1)

    def loss(self, logits: Tensor, full_depth: Tensor, scaling: Scaling) -> Tensor:
        """See `Answer.loss`: cross-entropy (Guo et al. 2017)."""
        return functional.cross_entropy(
            (logits / scaling.temperature).reshape(-1, logits.shape[-1]), full_depth.argmax(dim=-1).flatten()
        )


class LabelCuts(Answer):
    """Which labels reach a probability each; unsure is how likely one of them is on the other side.

    A label is so many logits from its cut; the full model is beyond it with the probability that the logistic
    function gives of these, scaled (Platt 1999), and by it independently for each label. What a text is
    called is not scaled: where the full model is likelier on the other side, an exit is very unsure.

    Attributes:
        one_holds: whether probabilities are the softmax of all logits; else the sigmoid of each.
    """

    def __init__(self, labels: Sequence[str], cuts: dict[str, float], *, one_holds: bool) -> None:
        """Cut the probabilities of some labels.

        Args:
            labels: of the model.
            cuts: the probability from which on a text is called a label, in the order of `labels`.
            one_holds: see the attributes.
        """
        self.names = tuple(cuts)
        self._ids = torch.tensor([list(labels).index(name) for name in cuts])
        self._cuts = torch.tensor([log(cut / (1 - cut)) for cut in cuts.values()], dtype=torch.float64)
        self.one_holds = one_holds

    def margins(self, logits: Tensor) -> Tensor:
        """Return how far each label is beyond its cut, (..., K), in logits."""
        ids, cuts = self._ids.to(logits.device), self._cuts.to(logits.device)
        odds = logits[..., ids]
        if self.one_holds:
            # log p / (1 - p), in which 1 - p is the sum of all others.
            own = functional.one_hot(ids, logits.shape[-1]).bool()
            others = logits[..., None, :].expand(*odds.shape, -1).masked_fill(own, -torch.inf)
            odds = odds - others.logsumexp(dim=-1)
        return odds - cuts.to(odds.dtype)

    def calls(self, logits: Tensor) -> Tensor:
        """See `Answer.calls`."""
        return self.margins(logits) >= 0

    def uncertainty(self, logits: Tensor, scaling: Scaling = UNSCALED) -> Tensor:
        """See `Answer.uncertainty`."""
        margins = self.margins(logits.float())
        odds = self._scaled(margins, scaling)
        same = functional.logsigmoid(torch.where(margins >= 0, odds, -odds))
        return -torch.expm1(same.sum(dim=-1))

    def loss(self, logits: Tensor, full_depth: Tensor, scaling: Scaling) -> Tensor:
        """See `Answer.loss`: binary cross-entropy with the full model's sides, the mean over labels."""
        sides = self.calls(full_depth).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(self._scaled(self.margins(logits), scaling), sides)

    def _scaled(self, margins: Tensor, scaling: Scaling) -> Tensor:
        """Return the logarithm of the odds that the full model is beyond each cut, (..., K)."""
        if not scaling.biases:
            return margins / scaling.temperature
        if len(scaling.biases) != len(self.names):
            raise ParameterError(
                f"`biases` has {len(scaling.biases)} values, and there are {len(self.names)} cuts"
            )
        temperatures, biases = (margins.new_tensor(each) for each in (scaling.temperatures, scaling.biases))
        return margins / temperatures + biases


class _OfScore(Answer):
    """Anything about a score, of which an exit knows a value, and the variance of the full model's around it.

    A scaling is one temperature, which multiplies the spread.
    """

    def loss(self, logits: Tensor, full_depth: Tensor, scaling: Scaling) -> Tensor:
        """See `Answer.loss`: binary cross-entropy of the uncertainty with whether the full model differs."""
        uncertainty = self.uncertainty(logits, scaling).to(logits.dtype)
        differs = self.differs(logits, full_depth).to(logits.dtype)
        return functional.binary_cross_entropy(uncertainty, differs)

    @staticmethod
    def spread(logits: Tensor, scaling: Scaling) -> Tensor:
        """Return the standard deviation of the full model's score, (...) float32; 0 where it is known."""
        log_variance = logits[..., 1].float()
        known = log_variance <= EXACT_LOG_VARIANCE
        return ((log_variance / 2).exp() * scaling.temperature).masked_fill(known, 0.0)


class ScoreCuts(_OfScore):
    """Between which cuts a score lies; unsure is how likely the full model's lies elsewhere."""

    def __init__(self, cuts: Sequence[float]) -> None:
        """Cut scores at some values, in rising order."""
        self.names = tuple(str(Cut(label="", value=cut)) for cut in cuts)
        self._cuts = torch.tensor(cuts, dtype=torch.float32)

    def calls(self, logits: Tensor) -> Tensor:
        """See `Answer.calls`: a cut that is reached is one."""
        return logits[..., :1].float() >= self._cuts.to(logits.device)

    def uncertainty(self, logits: Tensor, scaling: Scaling = UNSCALED) -> Tensor:
        """See `Answer.uncertainty`."""
        score = logits[..., 0].float()
        ends = self._cuts.new_tensor([torch.inf])
        edges = torch.cat([-ends, self._cuts, ends]).to(logits.device)
        place = self.calls(logits).sum(dim=-1)
        spread = self.spread(logits, scaling)
        below, above = (score - edges[place]) / spread, (edges[place + 1] - score) / spread
        # A score that is known and lies at a cut is 0 from it in units of 0.
        elsewhere = chance_beyond(below) + chance_beyond(above)
        return torch.where((spread == 0) & ~score.isnan(), 0.0, elsewhere)


class ScoreWithin(_OfScore):
    """The score, the same within a tolerance; unsure is how likely the full model's is further away."""

    names = ()

    def __init__(self, tolerance: float) -> None:
        """Let scores differ by `tolerance`; by nothing for 0, of which no exit is ever sure."""
        self._tolerance = tolerance

    def calls(self, logits: Tensor) -> Tensor:
        """See `Answer.calls`: a score has no names."""
        return logits.new_zeros((*logits.shape[:-1], 0), dtype=torch.bool)

    def differs(self, logits: Tensor, full_depth: Tensor) -> Tensor:
        """See `Answer.differs`."""
        return ~((logits[..., 0] - full_depth[..., 0]).abs() <= self._tolerance)

    def uncertainty(self, logits: Tensor, scaling: Scaling = UNSCALED) -> Tensor:
        """See `Answer.uncertainty`."""
        spread = self.spread(logits, scaling)
        further = 2 * chance_beyond(self._tolerance / spread)
        return torch.where(spread == 0, 0.0, further) + 0 * logits[..., 0].float()


def answer_of(rule: AnswerRule, labels: Sequence[str]) -> Answer:
    """Return the answer that a rule describes.

    Args:
        rule: of a model.
        labels: of the model, in the order of its logits.
    """
    if rule.task is Task.SCORE:
        if rule.cuts:
            return ScoreCuts([cut.value for cut in rule.cuts])
        return ScoreWithin(rule.tolerance or 0.0)
    cuts = {cut.label: cut.value for cut in rule.cuts}
    if rule.task is Task.LABEL_SET:
        return LabelCuts(labels, {label: cuts.get(label, _SET_CUT) for label in labels}, one_holds=False)
    return LabelCuts(labels, cuts, one_holds=True) if cuts else OneLabel(labels)
