"""Beam runners and their options."""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import torch
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner

from jobs.configs.runner import IN_PROCESS_RUNNERS, RunnerConfig
from jobs.driver.dask_cluster import DASK_RUNNER, dask_args, is_dask
from jobs.driver.dataflow import dataflow_args, is_dataflow
from model.engine import execution
from model.engine.execution import Device
from model.errors import ParameterError
from model.messages import one_line

# Beam's own ways to run in several threads or processes listen on all interfaces, and whoever reaches them
# reads any file of the user's.
_LISTENING_OPTIONS = ("direct_running_mode", "direct_num_workers")


def torch_threads(config: RunnerConfig) -> int | None:
    """Return the torch threads of a process; None leaves torch's own choice."""
    if config.threads is not None or config.workers == 1:
        return config.threads
    return max(1, torch.get_num_threads() // config.workers)


def take_device(config: RunnerConfig, device: str) -> None:
    """Take a GPU for this process where it will do the work of a job.

    Args:
        config: the runner.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ParameterError: if a GPU is asked for that there is not.
    """
    if config.is_in_process and not (config.dry_run or config.plan_only or config.finish):
        execution.take_device(Device(device))


def check_runner(config: RunnerConfig, own_options: Sequence[str]) -> None:
    """Refuse a runner that Beam does not know, and options that neither the command nor Beam knows.

    Args:
        config: the runner, and what the command line left over.
        own_options: the command's own options, to suggest from.

    Raises:
        ParameterError: naming the first unknown one and the nearest known one.
    """
    _check_runner_name(config.runner)
    check_beam_args(config.beam_args, own_options)
    # Of an object store what is read first is the input, before there is a pipeline.
    FileSystems.set_options(_make_options(config))


def _check_runner_name(name: str) -> None:
    """Refuse a runner that Beam does not know; a dotted path is taken as it is.

    Raises:
        ParameterError: naming the nearest known one.
    """
    if name in IN_PROCESS_RUNNERS or "." in name or is_dask(name):
        return
    known = [*StandardOptions.KNOWN_RUNNER_NAMES, DASK_RUNNER]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ParameterError(f"`runner` {name} is not known to Beam; {hint}")


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
    if any(arg.startswith("--dask_") for arg in beam_args):
        # Beam knows these once it has loaded that runner.
        dask_args(beam_args)
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
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, conflict_handler="resolve"
    )
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return parser


def make_pipeline(config: RunnerConfig) -> beam.Pipeline:
    """Return an empty pipeline on the runner that was asked for.

    Raises:
        ParameterError: if the runner lacks an option or a library.
    """
    _check_runner_name(config.runner)
    options = _make_options(config)
    if config.runner in IN_PROCESS_RUNNERS:
        _check_listens_nowhere(options)
        return beam.Pipeline(runner=fn_runner.FnApiRunner(), options=options)
    _check_job_server(options)
    try:
        return beam.Pipeline(options=options)
    # A runner may be of anybody's making, and raise what it likes.
    except Exception as error:
        reason = one_line(error)
        raise ParameterError(f"`runner` {config.runner} cannot be used: {reason}") from error


def runner_args(config: RunnerConfig) -> list[str]:
    """Return Beam's options: the runner, what the user gave, and the defaults that this leaves open."""
    if is_dask(config.runner):
        return [*dask_args(config.beam_args)]
    given = dataflow_args(config.beam_args) if is_dataflow(config.runner) else config.beam_args
    return [f"--runner={config.runner}", *given]


def _make_options(config: RunnerConfig) -> PipelineOptions:
    # The first one, so that the user's wins.
    return PipelineOptions(["--no_save_main_session", *runner_args(config)])


def _check_job_server(options: PipelineOptions) -> None:
    """Refuse a job server of Flink or Spark that is not there: Beam looks for it when all is claimed."""
    given = options.get_all_options()
    for name in ("flink_job_server_jar", "spark_job_server_jar"):
        jar = given.get(name)
        if jar is not None and "://" not in jar and not Path(jar).is_file():
            raise ParameterError(f"--{name}: there is no file {jar!r}")


def _check_listens_nowhere(options: PipelineOptions) -> None:
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != "in_memory" or direct.direct_num_workers != 1:
        given = " and ".join(f"--{name}" for name in _LISTENING_OPTIONS)
        raise ParameterError(
            f"{given} make Beam listen on all interfaces of this machine: leave them out, and give `workers`"
        )
