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
            OutputError: if something is there that was not to be resumed or overwritten.
        """
        from model.errors import OutputError

        self.final = Path(output)
        self.partial = self.final.with_name(self.final.name + ".partial")
        self._overwrite = overwrite
        if self.final.exists() and not overwrite and (self.final.is_file() or any(self.final.iterdir())):
            raise OutputError(f"{output!r} exists already; choose another --output, or --overwrite it")
        if self.partial.exists() and not (resume or overwrite):
            raise OutputError(
                f"{str(self.partial)!r} is a killed run's; go on with --resume, or --overwrite it"
            )

    def start(self) -> None:
        """Make the directory, emptied if it is to be overwritten."""
        if self._overwrite and self.partial.exists():
            shutil.rmtree(self.partial)
        self.partial.mkdir(parents=True, exist_ok=True)

    def finish(self) -> None:
        """Give the directory its final name."""
        (self.partial / STATE_FILE).unlink(missing_ok=True)
        if self.final.exists():
            shutil.rmtree(self.final)
        self.partial.rename(self.final)
