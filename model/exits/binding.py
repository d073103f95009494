"""What binds a calibrated policy to the model, number format and length that it was calibrated for."""

import torch

from model.engine.engine import Engine
from model.engine.execution import Execution, Precision, resolve_execution
from model.exits.policy import CalibratedFor, ExitPolicy


def running_as(engine: Engine, max_length: int) -> CalibratedFor:
    """Return what a calibrated policy must have been calibrated for to be used here.

    Args:
        engine: the model made ready.
        max_length: tokens that texts are cut to.
    """
    execution = engine.execution
    return CalibratedFor(
        model_hash=engine.model_hash,
        device=execution.device,
        precision=str(execution.precision),
        backend=str(execution.backend),
        max_length=max_length,
    )


def check_policy(policy: ExitPolicy, engine: Engine, max_length: int) -> None:
    """Refuse a calibrated policy for anything else than it was calibrated for.

    Raises:
        ArtifactError: naming what differs.
    """
    if policy.calibrated_for is not None:
        policy.calibrated_for.check(running_as(engine, max_length))


def calibrated_execution(calibrated_for: CalibratedFor) -> Execution:
    """Return what a policy was calibrated for, as far as this machine has it.

    What it has not, `check_policy` then refuses.
    """
    device = calibrated_for.device if torch.cuda.is_available() else "cpu"
    return resolve_execution(Precision(calibrated_for.precision), device=device)
