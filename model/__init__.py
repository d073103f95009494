"""The network and its mathematics: torch and transformers, nothing of Beam, Arrow or the command line.

What is named here is the public interface. It is imported when it is first asked for, so `import model`
loads neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.engine.engine import Engine
    from model.engine.execution import Execution, Precision, resolve_execution
    from model.errors import (
        ArtifactError,
        CheckpointError,
        EnvironmentMismatchError,
        FastBertJobsError,
        InputError,
        ItemError,
        OutputError,
        ParameterError,
        TrainingError,
    )
    from model.exits.policy import ExitPolicy
    from model.exits.predictions import Predictions
    from model.exits.teacher import Teacher
    from model.fastbert import FastBertForSequenceClassification
    from model.guarantee.calibrate import calibrate
    from model.guarantee.calibrated_policy import CalibratedPolicy
    from model.guarantee.exit_calibration import ExitCalibration
    from model.network.config import FastBertConfig
    from model.training.branches import train_branches
    from model.training.classifier import finetune
    from model.training.distillation_config import DistillationConfig
    from model.training.labelled_texts import LabelledTexts
    from model.training.lexical_branch import train_lexical_branch
    from model.training.soft_labelled_texts import SoftLabelledTexts
    from model.training.training_config import TrainingConfig

_MODULES = {
    "ArtifactError": "model.errors",
    "CalibratedPolicy": "model.guarantee.calibrated_policy",
    "CheckpointError": "model.errors",
    "DistillationConfig": "model.training.distillation_config",
    "Engine": "model.engine.engine",
    "EnvironmentMismatchError": "model.errors",
    "Execution": "model.engine.execution",
    "ExitCalibration": "model.guarantee.exit_calibration",
    "ExitPolicy": "model.exits.policy",
    "FastBertConfig": "model.network.config",
    "FastBertForSequenceClassification": "model.fastbert",
    "FastBertJobsError": "model.errors",
    "InputError": "model.errors",
    "ItemError": "model.errors",
    "LabelledTexts": "model.training.labelled_texts",
    "OutputError": "model.errors",
    "ParameterError": "model.errors",
    "Precision": "model.engine.execution",
    "Predictions": "model.exits.predictions",
    "SoftLabelledTexts": "model.training.soft_labelled_texts",
    "Teacher": "model.exits.teacher",
    "TrainingConfig": "model.training.training_config",
    "TrainingError": "model.errors",
    "calibrate": "model.guarantee.calibrate",
    "finetune": "model.training.classifier",
    "resolve_execution": "model.engine.execution",
    "train_branches": "model.training.branches",
    "train_lexical_branch": "model.training.lexical_branch",
}

__all__ = [
    "ArtifactError",
    "CalibratedPolicy",
    "CheckpointError",
    "DistillationConfig",
    "Engine",
    "EnvironmentMismatchError",
    "Execution",
    "ExitCalibration",
    "ExitPolicy",
    "FastBertConfig",
    "FastBertForSequenceClassification",
    "FastBertJobsError",
    "InputError",
    "ItemError",
    "LabelledTexts",
    "OutputError",
    "ParameterError",
    "Precision",
    "Predictions",
    "SoftLabelledTexts",
    "Teacher",
    "TrainingConfig",
    "TrainingError",
    "calibrate",
    "finetune",
    "resolve_execution",
    "train_branches",
    "train_lexical_branch",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
