"""Exit policies: at which layer a text may leave, and how sure it must be."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.answers.rule import AnswerRule
from model.answers.scaling import UNSCALED, Scaling
from model.errors import ArtifactError, ParameterError
from model.tokens.lengths import Lengths

# Above every uncertainty: all texts leave.
ALWAYS_EXIT = 2.0


def check_speed(speed: float) -> None:
    """Refuse a speed that is no uncertainty.

    Raises:
        ParameterError: if `speed` is outside [0, 1].
    """
    if not 0 <= speed <= 1:
        raise ParameterError(f"`speed` {speed} is outside [0, 1]; 0 is full depth, 1 the earliest exit")


@dataclass(frozen=True, kw_only=True)
class CalibratedFor:
    """What calibration rows were run with; thresholds that they gave say nothing of anything else.

    Attributes:
        model_hash: of the checkpoint.
        numerics_version: of what computed.
        device: "cpu" or "cuda".
        precision: number format.
        backend: whose operators run.
        max_length: tokens that texts were cut to.
    """

    model_hash: str
    numerics_version: int
    device: str
    precision: str
    backend: str
    max_length: int

    def check(self, running: "CalibratedFor") -> None:
        """Refuse to answer for anything else.

        Args:
            running: what is about to run.

        Raises:
            ArtifactError: naming what differs.
        """
        if self.model_hash != running.model_hash:
            raise ArtifactError(
                "the policy is calibrated for another model, or for this one before it was changed; "
                "run `fastbert-jobs calibrate` on this one"
            )
        differing = [
            f"{name} ({getattr(running, name)}, calibrated for {getattr(self, name)})"
            for name in ("numerics_version", "device", "precision", "backend", "max_length")
            if getattr(running, name) != getattr(self, name)
        ]
        if differing:
            raise ArtifactError(
                f"the policy is calibrated for something else than runs here, in {', '.join(differing)}; "
                "run `fastbert-jobs calibrate` as you want to score"
            )


@dataclass(frozen=True, kw_only=True)
class ExitPolicy:
    """Thresholds, one per layer but the last: a text leaves where its uncertainty is below.

    A threshold of 0 lets nothing leave, so that layer's branch is not even run. The last layer always
    answers. A model that has a lexical branch has one more exit before the first layer, number 0.

    Attributes:
        thresholds: (num_layers - 1,) from the first layer on.
        name: what the user asked for, for manifests and summaries.
        scalings: (num_layers - 1,) of a branch's confidence for its uncertainty; a temperature of 1 for each
            where none are given, as in the paper.
        lexical_threshold: the same of the lexical branch.
        lexical_scaling: likewise.
        length_exponent: thresholds are held against the uncertainty over the text's tokens to the power of
            this: the higher, the more may a long text leave that is unsure. 0 as in the paper.
        answer: what the uncertainty is the uncertainty of; None for what the model's task answers with: a
            label, a set of labels, or a score, of which no exit is sure before a cut or a tolerance is given.
        calibrated_for: what the thresholds hold for, checked by whatever answers; None for thresholds that
            nothing is promised of.
    """

    thresholds: tuple[float, ...]
    name: str
    scalings: tuple[Scaling, ...] = ()
    lexical_threshold: float = 0.0
    lexical_scaling: Scaling = UNSCALED
    length_exponent: float = 0.0
    answer: AnswerRule | None = None
    calibrated_for: CalibratedFor | None = None

    def __post_init__(self) -> None:
        """Let branches without a scaling have a temperature of 1.

        Raises:
            ParameterError: if there are not as many scalings as thresholds.
        """
        # Lists would do as well for the sweep, but not where a policy is part of a job's fingerprint.
        object.__setattr__(self, "thresholds", tuple(self.thresholds))
        object.__setattr__(self, "scalings", tuple(self.scalings) or (UNSCALED,) * len(self.thresholds))
        if len(self.scalings) != len(self.thresholds):
            raise ParameterError(
                f"`scalings` has {len(self.scalings)} values, and `thresholds` {len(self.thresholds)}"
            )

    @classmethod
    def from_speed(cls, speed: float, *, num_layers: int, answer: AnswerRule | None = None) -> "ExitPolicy":
        """Return the paper's policy: one threshold for all layers, and no lexical branch.

        Args:
            speed: the threshold.
            num_layers: of the model.
            answer: see the attributes.

        Raises:
            ParameterError: if `speed` is outside [0, 1].

        >>> ExitPolicy.from_speed(0.5, num_layers=3).thresholds
        (0.5, 0.5)
        """
        check_speed(speed)
        return cls(thresholds=(float(speed),) * (num_layers - 1), name=f"speed {speed:g}", answer=answer)

    @classmethod
    def from_exit_layer(
        cls, exit_layer: int, *, num_layers: int, answer: AnswerRule | None = None
    ) -> "ExitPolicy":
        """Return the policy by which every text leaves at `exit_layer`, the paper's ablation.

        Args:
            exit_layer: a layer, from 1, or 0 for the lexical branch.
            num_layers: of the model.
            answer: see the attributes.

        Raises:
            ParameterError: if there is no such layer.

        >>> ExitPolicy.from_exit_layer(2, num_layers=3).thresholds
        (0.0, 2.0)
        """
        if not 0 <= exit_layer <= num_layers:
            raise ParameterError(
                f"`exit_layer` {exit_layer} is not a layer of this model (1 to {num_layers}), nor 0, the "
                "lexical branch"
            )
        lexical, *layers = (ALWAYS_EXIT if layer == exit_layer else 0.0 for layer in range(num_layers))
        return cls(
            thresholds=tuple(layers),
            lexical_threshold=lexical,
            name=f"fixed exit layer {exit_layer}",
            answer=answer,
        )

    @property
    def num_layers(self) -> int:
        """Layers of the model that this policy is for."""
        return len(self.thresholds) + 1

    def threshold(self, exit_layer: int) -> float:
        """Return the threshold of an exit, 0 for the lexical branch; the last layer has none."""
        return self.thresholds[exit_layer - 1] if exit_layer else self.lexical_threshold

    def scaling(self, exit_layer: int) -> Scaling:
        """Return what an exit's confidence is scaled by for its uncertainty; the last layer has none."""
        return self.scalings[exit_layer - 1] if exit_layer else self.lexical_scaling

    @property
    def runs_branch(self) -> tuple[bool, ...]:
        """(num_layers,) whether the branch of each exit is run, from the lexical one on."""
        return tuple(self.threshold(exit_layer) > 0 for exit_layer in range(self.num_layers))


def length_scales(lengths: Lengths, length_exponent: float) -> npt.NDArray[np.float32]:
    """Return what the uncertainty of each text is divided by before thresholds are held against it, (rows,).

    Args:
        lengths: (rows,) tokens of each text.
        length_exponent: of the policy.
    """
    return np.power(lengths.astype(np.float64), length_exponent).astype(np.float32)


def check_speed_or_policy(speed: float | None, policy: ExitPolicy | None) -> None:
    """Refuse a speed that is no uncertainty, or that a policy is given beside.

    Raises:
        ParameterError: naming the rule.
    """
    if speed is None:
        return
    if policy is not None:
        raise ParameterError("`speed` and `policy` exclude each other; give one of them")
    check_speed(speed)


def policy_of(
    speed: float | None, policy: ExitPolicy | None, *, num_layers: int, answer: AnswerRule
) -> ExitPolicy:
    """Return the policy of a caller who gives a speed, a policy, or neither for full depth.

    Args:
        speed: the threshold of all layers; None for 0.
        policy: has an answer of its own.
        num_layers: of the model.
        answer: what a speed is about.

    Raises:
        ParameterError: if both are given, the speed is outside [0, 1], or it is above 0 and of scores of
            which nobody said when two are the same.
    """
    check_speed_or_policy(speed, policy)
    if speed and not answer.is_decidable:
        raise ParameterError(
            f"`speed` {speed:g}: no exit can be sure of a score; say by `decide` at which cut it counts, as "
            ">=3, or by `tolerance` how much it may differ"
        )
    return policy or ExitPolicy.from_speed(speed or 0.0, num_layers=num_layers, answer=answer)
