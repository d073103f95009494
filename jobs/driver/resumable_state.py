"""Where a training saves what it has come to, and goes on after a kill."""

import json

from jobs.driver.atomic_directory import STATE_FILE, AtomicOutputDirectory
from model.errors import OutputError
from model.training.resume import TrainingState
from pipeline.contract.job import differences
from pipeline.contract.typed_json import as_plain


def resumable_state(working: AtomicOutputDirectory, job: object) -> TrainingState:
    """Return where to save and resume.

    Args:
        working: where the checkpoint grows.
        job: a dataclass of all that the weights depend on.

    Raises:
        OutputError: if the killed run had another configuration.
    """
    plain = as_plain(job)
    state = TrainingState(path=working.partial / STATE_FILE, job=json.dumps(plain, sort_keys=True))
    saved = state.saved_job()
    if saved is not None and saved != state.job:
        raise OutputError(
            f"{str(working.partial)!r} is another run's, which differs in "
            f"{differences(plain, json.loads(saved))}; give the same options, or `overwrite` it"
        )
    return state
