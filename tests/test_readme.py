"""README.md is true: its commands parse, its Python runs, its families are the supported ones."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from jobs.cli import app, expand_repeated_options
from jobs.commands.calibrate import CalibrateConfig
from jobs.commands.calibrate import run as calibrate
from jobs.commands.label_teacher import LabelTeacherConfig
from jobs.commands.label_teacher import run as label_teacher
from model.fastbert import FastBertForSequenceClassification
from model.network.backbones.registry import SUPPORTED_FAMILIES
from tests.job_fixtures import MAX_LENGTH, fastbert, make_texts, teacher, write_tsv

__all__ = ["fastbert", "teacher"]

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^\$ fastbert-jobs (.+)$", README, flags=re.MULTILINE)))
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory, teacher: Path, fastbert: Path) -> Path:
    """Directory of a FastBERT with its calibration."""
    directory = tmp_path_factory.mktemp("readme")
    corpus = write_tsv(directory / "corpus.tsv", {"text": make_texts(300)})
    label_teacher(
        LabelTeacherConfig(
            input=(str(corpus),), text_column="text", teacher=str(teacher), output=str(directory / "labels"),
            calibration_fraction=1.0, max_length=MAX_LENGTH,
        )
    )  # fmt: skip
    copy = shutil.copytree(fastbert, directory / "fastbert")
    calibrate(CalibrateConfig(model=str(copy), labels=str(directory / "labels")))
    return copy


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    words = expand_repeated_options(shlex.split(line))
    group = typer.main.get_command(app)
    name, command, rest = group.resolve_command(group.make_context("fastbert-jobs", words), words)
    context = command.make_context(name, rest)
    assert not context.args


def test_every_command_is_shown() -> None:
    group = typer.main.get_command(app)
    assert {line.split()[0] for line in COMMANDS} == set(group.commands)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_runs(
    snippet: str,
    calibrated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "quickstart"
    home.mkdir()
    (home / "fastbert").symlink_to(calibrated)
    (home / "test.tsv").write_text("text\tlabel\nable baker\tno\ncalm dune\tyes\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    seen: dict[str, object] = {}
    exec(compile(snippet, "README.md", "exec"), seen)
    printed = capsys.readouterr().out
    if "answers" in seen:
        labels = FastBertForSequenceClassification.from_pretrained(calibrated).labels
        assert set(seen["answers"].predictions) <= set(labels)
    else:
        assert "part-00000-of-00001.parquet" in printed or "Returns a new tensor." in printed


def test_families_are_named() -> None:
    (named,) = re.findall(r"of the families (.*?)\. It stays frozen", README)
    assert {name.strip() for name in named.replace(" and ", ", ").split(",")} == set(SUPPORTED_FAMILIES)


def test_output_blocks_are_filled() -> None:
    blocks = re.findall(r"<!-- output of: (.+?) -->\n(.*?)<!-- /output -->", README, flags=re.DOTALL)
    assert blocks
    assert all(text.startswith("```text\n$ ") for _, text in blocks), [name for name, _ in blocks]
