"""Where a checkpoint grows until it is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

STATE_FILE = "training_state.safetensors"
METRICS_FILE = "metrics.json"


class WorkingDirectory:
    """Where a checkpoint grows: beside its final name, which it takes when it is whole."""

    def __init__(self, output: str, *, resume: bool, overwrite: bool) -> None:
        """Claim `output`.

        Raises:
            OutputError: if something is there that was not to be resumed or overwritten, or is no checkpoint.
        """
        from model.errors import OutputError

        # Absolute, for `.` has no name that another could be made of.
        self.final = Path(output).absolute()
        self.partial = self.final.with_name(self.final.name + ".partial")
        self._overwrite = overwrite
        if self.final.is_file():
            raise OutputError(f"{output!r} is a file; choose another --output")
        if self.final.exists() and any(self.final.iterdir()):
            if not (self.final / "config.json").is_file():
                raise OutputError(f"{output!r} is not empty and holds no checkpoint; choose another --output")
            if not overwrite:
                raise OutputError(f"{output!r} exists already; choose another --output, or --overwrite it")
        if self.partial.exists() and not (resume or overwrite):
            raise OutputError(
                f"{str(self.partial)!r} is a killed run's; go on with --resume, or --overwrite it"
            )

    def start(self) -> None:
        """Make the directory, emptied if it is to be overwritten.

        Raises:
            OutputError: if it cannot be made.
        """
        from model.errors import OutputError

        try:
            if self._overwrite and self.partial.exists():
                shutil.rmtree(self.partial)
            self.partial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{str(self.partial)!r} cannot be written: {error}") from error

    def finish(self) -> None:
        """Give the directory its final name."""
        (self.partial / STATE_FILE).unlink(missing_ok=True)
        if self.final.exists():
            shutil.rmtree(self.final)
        self.partial.rename(self.final)
