"""Where and how wide a Beam job runs."""

from dataclasses import dataclass
from typing import Annotated

import typer

from model.checks import MAX_THREADS, check_count
from model.errors import ParameterError
from pipeline.contract.item_ranges import ALL_ITEMS, ItemRanges

# What is called DirectRunner here is Beam's in-process FnApiRunner. Beam's own DirectRunner first tries to
# download a Go binary, without a timeout.
IN_PROCESS_RUNNERS = ("DirectRunner", "FnApiRunner")


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """A Beam runner, its processes and its own options, and how much of the job is done by this command."""

    runner: Annotated[str, typer.Option(help="Beam runner; its own options may follow.")] = "DirectRunner"
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1
    threads: Annotated[
        int | None,
        typer.Option(help="Torch threads of a process; by default the cores, shared by the workers."),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, having checked it, and write nothing.")
    ] = False
    plan_only: Annotated[
        bool,
        typer.Option("--plan-only", help="Cut the input into items for a scheduler to hand out, no more."),
    ] = False
    items: Annotated[
        str | None,
        typer.Option(help="Do these items of a planned job: 0:400, or 7, or 400:, or the part 3/10."),
    ] = None
    finish: Annotated[
        bool, typer.Option("--finish", help="Verify that all items of a planned job are done, and end it.")
    ] = False
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        check_count("workers", self.workers, MAX_THREADS)
        if self.threads is not None:
            check_count("threads", self.threads, MAX_THREADS)
        if self.workers > 1 and not self.is_in_process:
            raise ParameterError(f"`workers` is for the DirectRunner; tell {self.runner} in its own options")

        steps = {
            "dry_run": self.dry_run,
            "plan_only": self.plan_only,
            "items": self.items is not None,
            "finish": self.finish,
        }
        if sum(steps.values()) > 1:
            raise ParameterError(f"give one of {', '.join(f'`{name}`' for name in steps)}")
        _ = self.part

    @property
    def part(self) -> ItemRanges | None:
        """Which items of a planned job this is about; None for a job that is planned here.

        Raises:
            ParameterError: if `items` are no numbers.
        """
        if self.finish:
            return ALL_ITEMS
        return None if self.items is None else ItemRanges.parse(self.items)

    @property
    def is_in_process(self) -> bool:
        """Whether Beam's own in-process runner drives the job."""
        return self.runner in IN_PROCESS_RUNNERS
