"""What is known of an engine that another machine will make: of a GPU, where this one has none."""

from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from model.answers.task import Task
from model.engine.execution import Execution
from model.engine.layer_runner import expected_backend
from model.network.backbones.registry import adapter_for


@dataclass(frozen=True, kw_only=True)
class EngineElsewhere:
    """As much of an `Engine` as a job has to know before it is run.

    Attributes:
        execution: what it will run on; its backend is the one that fits the model.
        model_hash: what calibrated policies are bound to.
        num_layers: of the backbone.
        exits: where a text may leave.
        task: what its logits mean.
    """

    execution: Execution
    model_hash: str
    num_layers: int
    exits: range
    task: Task


def execution_elsewhere(model: PreTrainedModel, execution: Execution) -> Execution:
    """Return what the engine of a classifier of a supported family will run on, where the device is."""
    return replace(execution, backend=expected_backend(adapter_for(model), execution))
