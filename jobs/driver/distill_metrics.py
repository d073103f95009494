"""What a distillation was, and how its branches did: `metrics.json` beside a FastBERT."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model.checkpoints.hub import METRICS_FILE
from model.engine.execution import Backend, Precision
from model.errors import ArtifactError
from model.network.branch_design import BranchDesign
from model.training.distillation_config import KlDirection
from model.training.distillation_result import Advice, RoundQualities, TrainedBranch
from model.version import NUMERICS_VERSION
from pipeline.contract.typed_json import as_plain, read_typed


@dataclass(frozen=True, kw_only=True)
class DistillationJob:
    """All that the branches' weights depend on.

    Attributes:
        labels: fingerprints of the soft labels.
        backbone: hash of the backbone's checkpoint.
        epochs: passes over the soft labels; None until every branch has converged.
        learning_rate: highest learning rate.
        batch_size: texts per step.
        branch: how branches read the states.
        seed: of the branches' first weights and of the order.
        kl_direction: which way the divergence from the teacher is taken.
        hard_label_weight: weight of the cross-entropy with the teacher's answers.
        lexical_size: megabytes that the lexical branch may take; 0 for none.
        precision: number format of the frozen backbone.
        backend: whose operators run it.
        numerics_version: of what computes.
        teacher: hash of the teacher's checkpoint; empty where an earlier version did not tell.
        true_labels: column of true labels that were learnt from, too; empty for none.
        true_label_weight: weight of the cross-entropy with these; 0 for none.
        continued: hash of the FastBERT whose branches were trained on; empty for fresh ones.
        labels_before: fingerprints of the soft labels that these had learnt from before.
    """

    labels: tuple[str, ...]
    backbone: str
    epochs: int | None
    learning_rate: float
    batch_size: int
    branch: BranchDesign
    seed: int
    kl_direction: KlDirection
    hard_label_weight: float
    lexical_size: float
    precision: Precision
    backend: Backend
    numerics_version: int = NUMERICS_VERSION
    teacher: str = ""
    true_labels: str = ""
    true_label_weight: float = 0.0
    continued: str = ""
    labels_before: tuple[str, ...] = ()

    @property
    def as_text(self) -> str:
        """The job as the training state keeps it: equal jobs are equal text."""
        return json.dumps(as_plain(self), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class DistillMetrics:
    """What was asked for and how every branch did, round by round; `metrics.json` holds it.

    Attributes:
        config: what was asked for.
        num_train_rows: rows per epoch.
        num_held_out_rows: rows that the branches are judged by.
        held_out_share: of the train split's units, drawn by hash, those that the branches have never learnt
            from, this time or before; None where an earlier version did not tell.
        rounds: every branch's quality after each round; empty where nothing is held out.
        epochs: passes over the rows; 0 while training.
        branches: how each branch ended; empty while training, and where nothing is held out.
    """

    config: DistillationJob
    num_train_rows: int
    num_held_out_rows: int
    held_out_share: float | None = None
    rounds: tuple[RoundQualities, ...] = ()
    epochs: float = 0.0
    branches: tuple[TrainedBranch, ...] = ()

    @property
    def labels_learnt_from(self) -> tuple[str, ...]:
        """Fingerprints of the soft labels that the branches have learnt from, this time or before."""
        return (*self.config.labels, *self.config.labels_before)

    def with_round(self, qualities: RoundQualities) -> "DistillMetrics":
        """Return these with a round, in place of an earlier run's that was not saved."""
        before = tuple(each for each in self.rounds if each.step < qualities.step)
        return replace(self, rounds=(*before, qualities))

    def describe(self) -> str:
        """Return how far the branches have come, and what would help, in a line; empty if it is not known."""
        if not self.branches:
            return ""
        by_advice = {
            advice: [branch for branch in self.branches if branch.advice is advice] for advice in Advice
        }
        parts = []
        if falling := by_advice[Advice.MORE_EPOCHS]:
            parts.append(f"{_name(falling)} still got better when training ended: more epochs would help")
        if overfitted := by_advice[Advice.MORE_TEXT]:
            ratio = max(branch.kl / branch.train_kl for branch in overfitted)
            parts.append(
                f"{_name(overfitted)} converged, up to {ratio:.1f} times as far from the teacher on new text "
                "as on their own: more text would help"
            )
        if done := by_advice[Advice.NOTHING]:
            parts.append(f"{_name(done)} converged, and neither more epochs nor more text would help much")
        return "; ".join(parts)


def describe_training(directory: Path) -> str:
    """Return how far a FastBERT's branches have come, as `distill` left it; empty where it did not."""
    if not (directory / METRICS_FILE).is_file():
        return ""
    try:
        return read_metrics(directory, cure="`fastbert-jobs distill` writes it").describe()
    except ArtifactError as error:
        # It is told of, and nothing depends on it.
        return str(error)


def read_metrics(directory: Path, *, cure: str = "") -> DistillMetrics:
    """Return what `distill` left beside a FastBERT.

    Args:
        directory: of the FastBERT.
        cure: what mends it, for the message.

    Raises:
        ArtifactError: if it left nothing, or it cannot be read any more.
    """
    return read_typed(str(directory / METRICS_FILE), DistillMetrics, cure=cure)


def known_metrics(directory: Path) -> DistillMetrics | None:
    """Return the same; None where there is nothing that can be read."""
    try:
        return read_metrics(directory)
    except ArtifactError:
        return None


def _name(branches: Sequence[TrainedBranch]) -> str:
    """Return which branches these are.

    The layers are joined to ranges where they are neighbours.
    """
    runs: list[list[int]] = []
    for branch in branches:
        if runs and runs[-1][-1] == branch.layer - 1:
            runs[-1].append(branch.layer)
        else:
            runs.append([branch.layer])
    names = [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"{'branch' if len(branches) == 1 else 'branches'} {', '.join(names)}"
