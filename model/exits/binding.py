"""What binds a calibrated policy to the model, number format and length that it was calibrated for."""

from dataclasses import replace

import torch

from model.engine.engine import Engine
from model.engine.execution import (
    Backend,
    Execution,
    Precision,
    resolve_execution,
    without_packing_for_few_tokens,
)
from model.errors import ParameterError
from model.exits.policy import CalibratedFor, ExitPolicy
from model.version import NUMERICS_VERSION


def running_as(engine: Engine, max_length: int) -> CalibratedFor:
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


def check_policy(policy: ExitPolicy, engine: Engine, max_length: int) -> None:
    """Refuse a policy of another depth, and a calibrated one for anything else than it was calibrated for.

    Raises:
        ParameterError: if the policy has thresholds for another number of layers, or for a lexical branch
            that the model has not.
        ArtifactError: naming what differs.
    """
    if policy.num_layers != engine.num_layers:
        raise ParameterError(
            f"`policy` is for a model of {policy.num_layers} layers, and this one has {engine.num_layers}"
        )
    if policy.calibrated_for is not None:
        policy.calibrated_for.check(running_as(engine, max_length))
    if policy.lexical_threshold > 0 and 0 not in engine.exits:
        raise ParameterError(
            "`policy` lets texts leave at exit 0, the lexical branch, and this model has none; "
            "`fastbert-jobs distill` makes one"
        )


def calibrated_execution(calibrated_for: CalibratedFor) -> Execution:
    """Return what a policy was calibrated for, as far as this machine has it.

    What it has not, `check_policy` then refuses.
    """
    device = calibrated_for.device if torch.cuda.is_available() else "cpu"
    execution = resolve_execution(Precision(calibrated_for.precision), device=device)
    backend = Backend(calibrated_for.backend)
    # torch and transformers are on every machine.
    return execution if backend is Backend.ONEDNN else replace(execution, backend=backend)


def execution_for(policy: ExitPolicy | None, precision: Precision) -> Execution:
    """Return what a model is to answer on this machine with.

    Args:
        policy: when a text leaves; None for one that promises nothing.
        precision: number format; AUTO is that of a calibrated policy, and this machine's for any other.
    """
    if policy is not None and policy.calibrated_for is not None and precision is Precision.AUTO:
        return calibrated_execution(policy.calibrated_for)
    return resolve_execution(precision)


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
