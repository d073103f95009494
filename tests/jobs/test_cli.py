import errno
import logging
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

import jobs.cli
from jobs.cli import expand_repeated_options, in_options, make_app
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.distill import DistillConfig
from jobs.configs.finetune import FinetuneConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.configs.runner import RunnerConfig
from jobs.configs.score import ScoreConfig
from jobs.terminal.log_filters import silence_beam
from model.errors import CheckpointError, FastBertJobsError, InputError, OutputError, ParameterError
from tests.job_fixtures import CommandLine

_BEAM_JOB = {
    "--input", "--text-column", "--text-pair-column", "--id-column", "--output", "--rows-per-shard",
    "--precision", "--format", "--max-rejected", "--overwrite", "--verify", "--runner", "--workers",
    "--threads", "--plan-only", "--items", "--finish", "--device", "--dry-run",
}  # fmt: skip
_TRAINING = {"--output", "--epochs", "--learning-rate", "--batch-size", "--seed", "--overwrite"}
# The interface. A change here is a change for every user: say so in the changelog.
OPTIONS = {
    "label-teacher": {
        *_BEAM_JOB, "--teacher", "--max-length", "--calibration-fraction", "--promise-of", "--group-column",
        "--teacher-training-input", "--keep",
    },
    "score": {
        *_BEAM_JOB, "--model", "--max-disagreement", "--max-missed", "--target-speedup", "--confidence",
        "--calibration", "--speed", "--fixed-exit-layer", "--keep", "--group-column", "--promise",
        "--shadow-fraction", "--shadow-rows", "--max-false", "--decide", "--tolerance",
    },
    "calibrate": {
        "--model", "--labels", "--output", "--rows", "--confidence", "--precision", "--device", "--decide",
        "--tolerance",
    },
    "distill": {
        *_TRAINING, "--labels", "--backbone", "--branch", "--kl-direction", "--hard-label-weight",
        "--lexical-size", "--precision", "--device", "--resume", "--true-labels", "--true-label-weight",
        "--continue",
    },
    "finetune": {
        *_TRAINING, "--input", "--text-column", "--text-pair-column", "--label-column", "--model",
        "--eval-input", "--max-length", "--weight-decay", "--warmup", "--format", "--device", "--task",
        "--label-separator", "--eval-fraction", "--best-by", "--class-weights", "--gradient-accumulation",
        "--precision", "--threads", "--resume",
    },
    "audit": {
        "scores", "other", "--output", "--labels-input", "--label-column", "--id-column", "--format",
        "--json", "--fail-on",
    },
    "quickstart": {"--output", "--seed"},
}  # fmt: skip
REQUIRED = {
    "label-teacher": {"--input", "--text-column", "--teacher", "--output"},
    "score": {"--input", "--text-column", "--model", "--output"},
    "distill": {"--labels", "--output"},
    "calibrate": {"--model", "--labels"},
    "finetune": {"--input", "--text-column", "--label-column", "--model", "--output"},
    "audit": {"scores"},
    "quickstart": set(),
}
COMMANDS: dict[str, Any] = dict(typer.main.get_command(make_app()).commands)  # type: ignore[attr-defined]
ROOT = Path(__file__).parents[2]
HELP = "--help"


def names_of(command: str, *, required: bool = False) -> set[str]:
    parameters = [each for each in COMMANDS[command].params if each.required or not required]
    return {name for parameter in parameters for name in parameter.opts} - {HELP}


def test_the_commands_are_those_that_were_promised():
    assert COMMANDS.keys() == OPTIONS.keys()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_options_are_those_that_were_promised(name: str):
    assert names_of(name) == OPTIONS[name]
    assert names_of(name, required=True) == REQUIRED[name]
    assert not {name for each in COMMANDS[name].params for name in each.secondary_opts}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_command_and_option_has_help(name: str):
    assert COMMANDS[name].help
    assert all(parameter.help for parameter in COMMANDS[name].params)


@pytest.mark.parametrize("name", OPTIONS)
def test_help_shows_every_option(command: CommandLine, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = command(name, "--help")
    assert all(option in out for option in OPTIONS[name] if option.startswith("-"))


@pytest.mark.parametrize("args", [(), ("--help",)])
def test_help_shows_every_command(command: CommandLine, args: tuple[str, ...]):
    out = command(*args)
    assert all(name in out for name in OPTIONS)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("label-teacher", LabelTeacherConfig),
        ("score", ScoreConfig),
        ("distill", DistillConfig),
        ("calibrate", CalibrateConfig),
        ("finetune", FinetuneConfig),
    ],
)
def test_the_defaults_of_the_command_line_are_those_of_python(name: str, config: Any):
    for parameter in COMMANDS[name].params:
        if parameter.required or parameter.name in ("runner", "help"):
            continue
        owner = RunnerConfig if parameter.name in RunnerConfig.__dataclass_fields__ else config
        default = owner.__dataclass_fields__[parameter.name].default
        given = parameter.default() if callable(parameter.default) else parameter.default
        assert (given or None) == (default or None), parameter.name


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], []),
        (["score", "--input", "a"], ["score", "--input", "a"]),
        (["--input", "a", "b", "c"], ["--input", "a", "--input", "b", "--input", "c"]),
        (["--input", "a", "b", "--speed", "0.5"], ["--input", "a", "--input", "b", "--speed", "0.5"]),
        (["--input", "a", "--input", "b", "c"], ["--input", "a", "--input", "b", "--input", "c"]),
        (["audit", "--labels-input", "a", "s"], ["audit", "--labels-input", "a", "s"]),
        (["--speed", "0.5", "stray"], ["--speed", "0.5", "stray"]),
        (["--input=a", "stray"], ["--input=a", "stray"]),
    ],
)
def test_an_option_may_take_several_values(args: list[str], expected: list[str]):
    assert expand_repeated_options(args) == expected


def missing_one(name: str) -> list[tuple[str, str]]:
    return [(name, option) for option in sorted(REQUIRED[name]) if option.startswith("-")]


@pytest.mark.parametrize(("name", "missing"), [pair for name in OPTIONS for pair in missing_one(name)])
def test_a_missing_option_is_named(command: CommandLine, name: str, missing: str):
    given = [part for option in sorted(REQUIRED[name] - {missing}) for part in (option, "x")]
    assert command.refused(name, *given) == f"Missing option '{missing}'."


GIVEN = {
    name: [
        part for option in sorted(REQUIRED[name]) for part in ((option, "x") if option != "scores" else "x")
    ]
    for name in REQUIRED
}


@pytest.mark.parametrize(
    ("name", "option", "hint"),
    [
        ("score", "--sped", "--speed"),
        ("score", "--text-colum", "--text-column"),
        ("score", "--direct_num_worker=2", "--direct_num_workers"),
        ("label-teacher", "--callibration-fraction=1", "--calibration-fraction"),
        ("label-teacher", "--direct-running-mode=x", "--direct_running_mode"),
        ("distill", "--epoch", "--epochs"),
        ("distill", "--kl-directions", "--kl-direction"),
        ("finetune", "--evalinput", "--eval-input"),
        ("audit", "--labels-inputs", "--labels-input"),
        ("quickstart", "--sed", "--seed"),
    ],
)
def test_an_unknown_option_names_the_nearest(command: CommandLine, name: str, option: str, hint: str):
    line = command.refused(name, *GIVEN[name], option)
    assert option.split("=")[0] in line
    assert hint in line.replace(option, "", 1)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_like_no_other_is_refused_too(command: CommandLine, name: str):
    assert "--zzqqxx" in command.refused(name, *GIVEN[name], "--zzqqxx", "1")


@pytest.mark.parametrize("name", ["score", "label-teacher", "distill", "finetune", "audit", "quickstart"])
def test_a_stray_argument_is_refused(command: CommandLine, name: str):
    given = GIVEN[name] if "--output" not in GIVEN[name] else [*GIVEN[name], "--output", "x"]
    if name == "audit":
        given = [*given, "other"]
    assert "stray" in command.refused(name, *given, "stray")


def test_an_unknown_command_names_the_nearest(command: CommandLine):
    line = command.refused("scores")
    assert "'scores'" in line
    assert "score" in line.replace("scores", "")


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("score", "--speed", "fast"),
        ("score", "--rows-per-shard", "many"),
        ("score", "--precision", "fp8"),
        ("score", "--format", "xml"),
        ("distill", "--kl-direction", "sideways"),
        ("distill", "--batch-size", "1.5"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(command: CommandLine, name: str, option: str, value: str):
    assert f"'{option}'" in command.refused(name, *GIVEN[name], option, value)


@pytest.mark.parametrize(
    "error", [CheckpointError, ParameterError, InputError, OutputError, FastBertJobsError]
)
def test_what_a_user_can_cure_is_one_line(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
):
    def fail(*_: object) -> None:
        raise error("what is wrong; what to do")

    monkeypatch.setattr("jobs.quickstart.command.run", fail)
    assert command.refused("quickstart") == "what is wrong; what to do"


def test_the_process_is_set_up_before_a_command_runs(command: CommandLine, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setattr("model.engine.malloc.disable_malloc_trim", lambda: calls.append("malloc"))
    monkeypatch.setattr("model.engine.kernel_cache.limit_kernel_cache", lambda: calls.append("kernels"))
    monkeypatch.setattr(
        "jobs.quickstart.command.run", lambda *_, **__: calls.append(os.environ["PYTHONSAFEPATH"])
    )
    command("quickstart")
    assert calls == ["malloc", "kernels", "1"]


def test_a_defect_of_ours_keeps_its_traceback(command: CommandLine, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr("jobs.quickstart.command.run", fail)
    with pytest.raises(ValueError, match="a defect"):
        command.run("quickstart")


def test_a_mistake_shows_where_it_was_raised_to_who_asks(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise ParameterError("`rows_per_shard` 0\n\x1b[31m: must be at least 1")

    monkeypatch.setattr("jobs.quickstart.command.run", fail)
    line = r"fastbert-jobs: --rows-per-shard 0\n\x1b[31m: must be at least 1"
    assert command.run("quickstart") == (2, "", f"{line}\n")
    for args in (("--verbose", "quickstart"), ("quickstart", "--verbose")):
        status, _, err = command.run(*args)
        assert status == 2
        assert err.splitlines()[-1] == line
        assert "in fail" in err


def test_what_the_system_refuses_is_one_line(command: CommandLine, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out/file")

    monkeypatch.setattr("jobs.quickstart.command.run", fail)
    assert command.refused("quickstart") == "[Errno 28] No space left on device: 'out/file'"


def test_standard_output_that_could_not_be_written_is_told_at_the_end(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("jobs.quickstart.command.run", lambda *_: None)
    monkeypatch.setattr("jobs.cli.stdout_failure", lambda: OSError("No space left on device"))
    line = command.refused("quickstart")
    assert line == "standard output could not be written: No space left on device; all else is done"


def test_the_arguments_of_the_process_are_taken_where_none_are_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["fastbert-jobs", "score", "--help"])
    with pytest.raises(SystemExit) as exit_info:
        jobs.cli.main()
    assert exit_info.value.code == 0
    assert "--shadow-fraction" in capsys.readouterr().out


HEAVY = (
    "torch",
    "transformers",
    "apache_beam",
    "pyarrow",
    "pandas",
    "numpy",
    "tokenizers",
    "matplotlib",
    "scipy",
)


@pytest.mark.parametrize(
    "args", [[], ["--help"], ["score", "--help"], ["score", "--speed"], ["distill", "--x"]]
)
def test_the_command_line_answers_without_loading_libraries(args: list[str]):
    code = (
        "import sys, contextlib\n"
        "from jobs.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({args!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONSAFEPATH": "", "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("text", "is_said"),
    [
        ("apitools not found, and bigquery client libraries are not available", False),
        ("Worker: TypeError: a", True),
    ],
)
def test_known_noise_of_beam_is_not_repeated(text: str, is_said: bool, caplog: pytest.LogCaptureFixture):
    silence_beam()
    logging.warning(text)
    assert [record.getMessage() for record in caplog.records] == ([text] if is_said else [])


def test_a_name_that_is_none_of_those_known_is_told_with_these(command: CommandLine):
    line = command.refused(
        "label-teacher", "--input", "a", "--text-column", "t", "--teacher", "m", "--output", "o",
        "--promise-of", "docs",
    )  # fmt: skip
    assert line == "Invalid value for '--promise-of': 'docs' is not one of 'texts', 'rows'."


def test_the_version_is_told(command: CommandLine):
    assert command("--version") == f"fastbert-jobs {version('fastbert-jobs')}\n"


def run_module(code: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in another directory."""
    return subprocess.run(
        [sys.executable, *code.split()],
        capture_output=True, text=True, check=False, cwd=directory, env={**os.environ, **environment},
    )  # fmt: skip


def test_it_runs_as_a_module(tmp_path: Path):
    done = run_module("-m jobs --help", tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "label-teacher" in done.stdout


@pytest.mark.parametrize("name", ["model", "pipeline"])
def test_a_module_of_the_users_that_hides_ours_is_named(tmp_path: Path, name: str):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('the user has been run')")
    done = run_module("-m jobs score", tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"fastbert-jobs: the package {name!r} must lie beside ")
    assert str(tmp_path / f"{name}.py") in line
    assert "environment of its own" in line


def test_parameters_become_options():
    message = "`max_length` 2 is not `x`; choose another `exit_layer`, `overwrite` it, or `teacher_logits`"
    assert in_options(message) == (
        "--max-length 2 is not `x`; choose another --fixed-exit-layer, --overwrite it, or --labels"
    )
