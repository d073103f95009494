"""Beam runners and their options."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apache_beam import Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions

# Minutes of work on a CPU, so that progress shows and a killed job loses little.
DEFAULT_ROWS_PER_SHARD = 10_000

# What is called DirectRunner here is Beam's in-process FnApiRunner. Beam's own DirectRunner first tries to
# download a Go binary, without a timeout.
IN_PROCESS_RUNNERS = ("DirectRunner", "FnApiRunner")
# Worker processes write to the user's terminal, at INFO unless told otherwise: some 20 lines each.
_WORKER_LOG_LEVEL = "--default_sdk_harness_log_level"


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """Where and how wide a Beam job runs.

    Attributes:
        runner: a Beam runner's name.
        workers: processes on this machine, for the direct runner.
        threads: torch threads of a process; None for torch's own choice, divided by `workers`.
        beam_args: options of the runner, passed through.
    """

    runner: str = "DirectRunner"
    workers: int = 1
    threads: int | None = None
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers and that every option is known to Beam.

        Raises:
            ParameterError: naming the option, and the nearest known one.
        """
        from model.errors import ParameterError

        if self.workers < 1:
            raise ParameterError(f"--workers {self.workers} is not at least 1")
        if self.threads is not None and self.threads < 1:
            raise ParameterError(f"--threads {self.threads} is not at least 1")
        _check_runner(self.runner)
        if self.workers > 1 and self.runner not in IN_PROCESS_RUNNERS:
            raise ParameterError(f"--workers is for the DirectRunner; tell {self.runner} in its own options")

    @property
    def torch_threads(self) -> int | None:
        """Torch threads of a process; None leaves torch's own choice."""
        if self.threads is not None or self.workers == 1:
            return self.threads
        import torch

        return max(1, torch.get_num_threads() // self.workers)


def _check_runner(name: str) -> None:
    """Refuse a runner that Beam does not know; a dotted path is taken as it is.

    Raises:
        ParameterError: naming the nearest known one.
    """
    if name in IN_PROCESS_RUNNERS or "." in name:
        return
    from apache_beam.options.pipeline_options import StandardOptions

    from model.errors import ParameterError

    known = StandardOptions.KNOWN_RUNNER_NAMES
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ParameterError(f"--runner {name} is not known to Beam; {hint}")


def check_beam_args(beam_args: Sequence[str], own_options: Sequence[str]) -> None:
    """Refuse options that neither the command nor Beam knows; Beam itself would only warn.

    Args:
        beam_args: what the command line left over.
        own_options: the command's own options, to suggest from.

    Raises:
        ParameterError: naming the first unknown option and the nearest known one.
    """
    if not beam_args:
        return
    from model.errors import ParameterError

    parser = _beam_parser()
    try:
        _, unknown = parser.parse_known_args(list(beam_args))
    except argparse.ArgumentError as error:
        raise ParameterError(str(error)) from error
    if unknown:
        known = [*own_options, *parser._option_string_actions]
        name = unknown[0].split("=")[0]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        kind = "option" if name.startswith("-") else "argument"
        raise ParameterError(f"there is no {kind} {name}{hint}")


def _beam_parser() -> argparse.ArgumentParser:
    """Return a parser of every option that an installed Beam runner has."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, conflict_handler="resolve"
    )
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return parser


def make_pipeline(config: RunnerConfig) -> Pipeline:
    """Return an empty pipeline on the runner that was asked for.

    Raises:
        ParameterError: if the runner lacks an option or a library.
    """
    import apache_beam as beam

    from model.errors import ParameterError

    options = _make_options(config)
    if config.runner in IN_PROCESS_RUNNERS:
        return beam.Pipeline(runner=_in_process_runner(options), options=options)
    try:
        return beam.Pipeline(options=options)
    except (ImportError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"--runner {config.runner} cannot be used: {reason}") from error


def _make_options(config: RunnerConfig) -> PipelineOptions:
    from apache_beam.options.pipeline_options import PipelineOptions

    args = [f"--runner={config.runner}", *config.beam_args]
    if config.workers > 1:
        args += ["--direct_running_mode=multi_processing", f"--direct_num_workers={config.workers}"]
    if config.runner in IN_PROCESS_RUNNERS and not any(arg.startswith(_WORKER_LOG_LEVEL) for arg in args):
        args.append(f"{_WORKER_LOG_LEVEL}=ERROR")
    return PipelineOptions(args, save_main_session=False)


def _in_process_runner(options: PipelineOptions) -> Any:
    """Return an FnApiRunner whose worker processes get the options, as Beam's switching runner makes it."""
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))
