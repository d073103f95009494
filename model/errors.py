"""The tree of errors that a user can cause.

FastBertJobsError(ValueError)
├── ParameterError           a value that is not allowed, or two that do not go together
├── CheckpointError          a model directory that cannot be used, and why
├── InputError               a file or a column that is missing or unreadable
├── OutputError              an output directory that holds something else, or cannot be written
├── ArtifactError            what we wrote and now read: damaged, unfinished, of another version or model
├── TrainingError            a training that diverged
├── ItemError                a part of a job that failed, by no mistake of the user's that we know of
└── EnvironmentMismatchError machines of one job that would compute differently

Each message names the thing and the cure in one line: the command line prints it and exits with 2.
Parameters stand in backquotes, as in `max_length`; the command line turns them into its options.
Anything else that is raised is a defect of ours and keeps its traceback. The tree stands at the bottom
of the import order so that all three packages raise from it.
"""


class FastBertJobsError(ValueError):
    """Base of every error that a user can cause and cure."""


class ParameterError(FastBertJobsError):
    """A parameter whose value is not allowed, or parameters that exclude each other."""


class CheckpointError(FastBertJobsError):
    """A model directory that is incomplete, of an unsupported kind, or does not fit its partner."""


class InputError(FastBertJobsError):
    """An input that does not exist, cannot be read, or lacks what was asked of it."""


class OutputError(FastBertJobsError):
    """An output directory that belongs to another job, is not finished, or cannot be written."""


class ArtifactError(FastBertJobsError):
    """Labels, scores or a calibration that are read again, and are damaged, unfinished or another's."""


class TrainingError(FastBertJobsError):
    """A training whose loss or gradients are no numbers any more."""


class ItemError(FastBertJobsError):
    """A part of a job that failed, and not by a mistake of the user's that we know of.

    A worker was killed, storage was away for long, another process of a distillation has ended, or a defect
    of ours met a work item.
    """


class EnvironmentMismatchError(FastBertJobsError):
    """A worker whose processor or libraries compute differently from what the job was told."""
