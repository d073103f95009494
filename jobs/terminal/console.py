"""What the user sees while a command works: progress bars on standard error, results on standard output."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from jobs.terminal.unfailing_stdout import unfailing_stdout
from model.messages import printable

if TYPE_CHECKING:
    from model.training.loop import StepReport

_SECONDS_PER_LINE = 60.0


class _LiteralConsole(Console):
    """Prints strings as they are, but for what would do something to a terminal: names may hold anything."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as `Console.print` does; lines that a string has stay lines."""
        super().print(*map(_literal, objects), **options)


def _literal(given: Any) -> Any:
    return "\n".join(map(printable, given.split("\n"))) if isinstance(given, str) else given


def stdout_console() -> Console:
    """Return the console for results; wide enough for a table when it is no terminal."""
    stream = unfailing_stdout()
    width = None if stream.isatty() else 110
    return _LiteralConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)


class _SteadyProgress(Progress):
    """A progress bar that, where no terminal shows it, says in one line per minute where it stands."""

    _last_printed = 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; of what failed nothing more is shown where no terminal showed it."""
        if kind is not None and not self.console.is_terminal:
            self.console.quiet = True
        super().__exit__(kind, error, trace)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task, as `Progress.update` does."""
        super().update(task_id, **changes)
        now = time.monotonic()
        if self.console.is_terminal or now - self._last_printed < _SECONDS_PER_LINE:
            return
        if self._last_printed:
            task = self.tasks[task_id]
            total = "" if task.total is None else f" of {task.total:,.0f}"
            parts = [f"{task.description}: {task.completed:,.0f}{total}", *task.fields.values()]
            self.console.print(", ".join(str(part) for part in parts if part), markup=False)
        self._last_printed = now


def progress_bar(*, rate: str, transient: bool = False) -> Progress:
    """Return a progress bar with elapsed and remaining time.

    Args:
        rate: name of the task field that is shown at the end, such as rows/s.
        transient: whether nothing of it is left when it is done.
    """
    console = Console(file=sys.stderr)
    return _SteadyProgress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[" + rate + "]}"),
        console=console,
        transient=transient,
        # Else an empty line would be left of it.
        disable=transient and not console.is_terminal,
    )


@contextmanager
def training_progress(
    description: str, *, is_length_known: bool = True
) -> Iterator[Callable[[StepReport], None]]:
    """Show the progress of a training while the context lasts, and yield what to tell of every step.

    Args:
        description: of what is trained.
        is_length_known: whether training goes on for all the steps that it may take.
    """
    with progress_bar(rate="loss") as progress:
        bar = progress.add_task(description, total=None, loss="")

        def on_step(report: StepReport) -> None:
            total = report.total_steps if is_length_known else None
            progress.update(bar, total=total, completed=report.step, loss=f"loss {report.loss:.3f}")

        yield on_step


@contextmanager
def counting_progress(description: str, *, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how much is done of what nobody knows the end of, and yield what to tell of every so many."""
    with progress_bar(rate="unit", transient=True) as progress:
        bar = progress.add_task(description, total=None, unit=unit)
        yield lambda number: progress.advance(bar, number)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table; numbers are to the right, and come formatted."""
    made = Table(title=Text(printable(title)), title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        made.add_column(Text(printable(column)), justify="left" if index == 0 else "right")
    for row in rows:
        made.add_row(*(Text(printable(str(cell))) for cell in row))
    return made


def print_settings(console: Console, decisions: Mapping[str, object]) -> None:
    """Say what a command decided before it starts."""
    width = max(map(len, decisions))
    for name, value in decisions.items():
        console.print(f"{name:<{width}}  {printable(str(value))}", soft_wrap=True)


def print_next_step(console: Console, *words: object) -> None:
    """Say what to run next, as a shell reads it: the words behind `fastbert-jobs`."""
    console.print(f"next: fastbert-jobs {shlex.join(map(str, words))}", soft_wrap=True, markup=False)
