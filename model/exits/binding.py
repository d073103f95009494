"""What binds a calibrated policy to the model, number format and length that it was calibrated for."""

from dataclasses import replace
from typing import Protocol

import torch

from model.answers.task import Task
from model.engine.execution import (
    Backend,
    Device,
    Execution,
    Precision,
    resolve_execution,
    without_packing_for_few_tokens,
)
from model.errors import ParameterError
from model.exits.policy import CalibratedFor, ExitPolicy
from model.version import NUMERICS_VERSION


class Runnable(Protocol):
    """What a policy is held against: an engine, or what is known of one that another machine will make."""

    @property
    def execution(self) -> Execution:
        """What it runs on."""

    @property
    def model_hash(self) -> str:
        """Of the model."""

    @property
    def num_layers(self) -> int:
        """Layers of the backbone."""

    @property
    def exits(self) -> range:
        """Where a text may leave."""

    @property
    def task(self) -> Task:
        """What its logits mean."""


def running_as(engine: Runnable, max_length: int) -> CalibratedFor:
    """Return what a calibrated policy must have been calibrated for to be used here.

    Args:
        engine: the model made ready.
        max_length: tokens that texts are cut to.
    """
    execution = engine.execution
    return CalibratedFor(
        model_hash=engine.model_hash,
        numerics_version=NUMERICS_VERSION,
        device=execution.device,
        precision=str(execution.precision),
        backend=str(execution.backend),
        max_length=max_length,
    )


def check_policy(policy: ExitPolicy, engine: Runnable, max_length: int) -> None:
    """Refuse a policy of another depth, and a calibrated one for anything else than it was calibrated for.

    Raises:
        ParameterError: if the policy has thresholds for another number of layers, or for a lexical branch
            that the model has not, or compares other answers than the model gives.
        ArtifactError: naming what differs.
    """
    if policy.num_layers != engine.num_layers:
        raise ParameterError(
            f"`policy` is for a model of {policy.num_layers} layers, and this one has {engine.num_layers}"
        )
    if policy.calibrated_for is not None:
        policy.calibrated_for.check(running_as(engine, max_length))
    if policy.answer is not None and policy.answer.task is not engine.task:
        raise ParameterError(
            f"`policy` compares answers of {policy.answer.task}, and this model is for {engine.task}"
        )
    if policy.lexical_threshold > 0 and 0 not in engine.exits:
        raise ParameterError(
            "`policy` lets texts leave at exit 0, the lexical branch, and this model has none; "
            "`fastbert-jobs distill` makes one"
        )


def calibrated_execution(calibrated_for: CalibratedFor, device: Device = Device.AUTO) -> Execution:
    """Return what a policy was calibrated for, as far as this machine has it, or on a device of choice.

    What is another then, `check_policy` refuses.
    """
    if device is Device.AUTO:
        device = Device(calibrated_for.device) if torch.cuda.is_available() else Device.CPU
    execution = resolve_execution(Precision(calibrated_for.precision), device=device)
    backend = Backend(calibrated_for.backend)
    # torch and transformers are on every machine.
    return execution if backend is Backend.ONEDNN else replace(execution, backend=backend)


def execution_for(policy: ExitPolicy | None, precision: Precision, device: Device = Device.AUTO) -> Execution:
    """Return what a model is to answer with, on this machine or on those that have the device.

    Args:
        policy: when a text leaves; None for one that promises nothing.
        precision: number format; AUTO is that of a calibrated policy, and this machine's for any other.
        device: AUTO is a GPU where this machine has one, and the policy was not calibrated for a CPU.

    Raises:
        ParameterError: if the number format of a GPU is to be decided, and there is none here.
    """
    if policy is not None and policy.calibrated_for is not None and precision is Precision.AUTO:
        return calibrated_execution(policy.calibrated_for, device)
    return resolve_execution(precision, device=device)


def own_execution(
    policy: ExitPolicy, dtype: torch.dtype, device: torch.device, *, num_tokens: int
) -> Execution:
    """Return what a model that is in memory is to answer with, where nobody said.

    Args:
        policy: a calibrated one says it itself.
        dtype: the model's own.
        device: likewise.
        num_tokens: of all texts; few are answered by the layers as they are.
    """
    if policy.calibrated_for is not None:
        return calibrated_execution(policy.calibrated_for)
    execution = resolve_execution(Precision.of(dtype), device=device.type)
    return without_packing_for_few_tokens(execution, num_tokens)
