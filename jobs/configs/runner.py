"""Where and how wide a Beam job runs."""

from dataclasses import dataclass
from typing import Annotated

import typer

from model.errors import ParameterError

# What is called DirectRunner here is Beam's in-process FnApiRunner. Beam's own DirectRunner first tries to
# download a Go binary, without a timeout.
IN_PROCESS_RUNNERS = ("DirectRunner", "FnApiRunner")


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """A Beam runner, its processes and its own options."""

    runner: Annotated[str, typer.Option(help="Beam runner; its own options may follow.")] = "DirectRunner"
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1
    threads: Annotated[
        int | None,
        typer.Option(help="Torch threads of a process; by default the cores, shared by the workers."),
    ] = None
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        if self.workers < 1:
            raise ParameterError(f"`workers` {self.workers} is not at least 1")
        if self.threads is not None and self.threads < 1:
            raise ParameterError(f"`threads` {self.threads} is not at least 1")
        if self.workers > 1 and not self.is_in_process:
            raise ParameterError(f"`workers` is for the DirectRunner; tell {self.runner} in its own options")

    @property
    def is_in_process(self) -> bool:
        """Whether Beam's own in-process runner drives the job."""
        return self.runner in IN_PROCESS_RUNNERS
