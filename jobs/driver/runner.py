"""Beam runners and their options."""

import argparse
import difflib
from collections.abc import Sequence

import apache_beam as beam
import torch
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_provision_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from jobs.configs.runner import IN_PROCESS_RUNNERS, RunnerConfig
from model.errors import ParameterError
from model.messages import one_line

# Worker processes write to the user's terminal, at INFO unless told otherwise: some 20 lines each.
_WORKER_LOG_LEVEL = "--default_sdk_harness_log_level"
# A terminal sends Ctrl-C to worker processes too: they leave it to the driver, which ends them.
_IGNORE_INTERRUPTS = b"trap '' INT; exec "


class _InProcessRunner(fn_runner.FnApiRunner):
    """Beam's in-process runner; its worker processes do not heed Ctrl-C."""

    def run_via_runner_api(
        self, pipeline_proto: beam_runner_api_pb2.Pipeline, options: PipelineOptions
    ) -> fn_runner.RunnerResult:
        """Run a pipeline."""
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = _IGNORE_INTERRUPTS + environment.payload
        return super().run_via_runner_api(pipeline_proto, options)


def torch_threads(config: RunnerConfig) -> int | None:
    """Return the torch threads of a process; None leaves torch's own choice."""
    if config.threads is not None or config.workers == 1:
        return config.threads
    return max(1, torch.get_num_threads() // config.workers)


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


def _check_runner_name(name: str) -> None:
    """Refuse a runner that Beam does not know; a dotted path is taken as it is.

    Raises:
        ParameterError: naming the nearest known one.
    """
    if name in IN_PROCESS_RUNNERS or "." in name:
        return
    known = StandardOptions.KNOWN_RUNNER_NAMES
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
        return beam.Pipeline(runner=_in_process_runner(options), options=options)
    try:
        return beam.Pipeline(options=options)
    except (ImportError, AttributeError, ValueError) as error:
        reason = one_line(error)
        raise ParameterError(f"`runner` {config.runner} cannot be used: {reason}") from error


def _make_options(config: RunnerConfig) -> PipelineOptions:
    args = [f"--runner={config.runner}", *config.beam_args]
    if config.workers > 1:
        args += ["--direct_running_mode=multi_processing", f"--direct_num_workers={config.workers}"]
    if config.runner in IN_PROCESS_RUNNERS and not any(arg.startswith(_WORKER_LOG_LEVEL) for arg in args):
        args.append(f"{_WORKER_LOG_LEVEL}=ERROR")
    return PipelineOptions(args, save_main_session=False)


def _in_process_runner(options: PipelineOptions) -> _InProcessRunner:
    """Return a runner whose worker processes get the options, as Beam's switching runner makes it."""
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return _InProcessRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))
