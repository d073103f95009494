"""The tree of errors that a user can cause.

FastBertJobsError(ValueError)
├── CheckpointError      a model directory that cannot be used, and why
├── OptionError          an option, or two that do not go together
├── InputError           a file or a column that is missing or unreadable
└── OutputError          an output directory that holds something else

Each message names the thing and the cure in one line: the command line prints it and exits with 2.
Anything else that is raised is a defect of ours and keeps its traceback. The tree stands at the bottom
of the import order so that all three packages raise from it.
"""


class FastBertJobsError(ValueError):
    """Base of every error that a user can cause and cure."""


class CheckpointError(FastBertJobsError):
    """A model directory that is incomplete, of an unsupported kind, or does not fit its partner."""


class OptionError(FastBertJobsError):
    """An option whose value is not allowed, or options that exclude each other."""


class InputError(FastBertJobsError):
    """An input that does not exist, cannot be read, or lacks what was asked of it."""


class OutputError(FastBertJobsError):
    """An output directory that belongs to another job, or that is not finished."""
