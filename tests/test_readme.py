"""README.md and docs/ are true: commands parse, Python runs, the families are the supported ones."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from jobs.cli import expand_repeated_options, make_app
from jobs.commands.audit import run as audit
from jobs.commands.calibrate import run as calibrate
from jobs.commands.label_teacher import run as label_teacher
from jobs.configs.audit import AuditConfig
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.driver.runner import check_beam_args
from model.fastbert import FastBertForSequenceClassification
from model.network.backbones.registry import SUPPORTED_FAMILIES
from tests.job_fixtures import MAX_LENGTH, fastbert, make_texts, teacher, write_tsv

__all__ = ["fastbert", "teacher"]

ROOT = Path(__file__).parents[1]
PAGES = {
    path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))
}
DOCUMENTS = "\n".join(PAGES.values())
_SHELL = re.compile(r"^```sh\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
# What outputs show behind a prompt, and what stands in blocks to type from, where a backslash joins lines.
COMMANDS = sorted(
    {
        *re.findall(r"^\$ fastbert-jobs (.+)$", DOCUMENTS, flags=re.MULTILINE),
        *(
            line
            for block in _SHELL.findall(DOCUMENTS)
            for line in re.findall(r"^fastbert-jobs (.+)$", block.replace("\\\n", " "), flags=re.MULTILINE)
        ),
    }
)
SNIPPETS = {
    f"{name} {number}": snippet
    for name, page in PAGES.items()
    # Its snippets are for other engines: tests/jobs/test_many_machines.py runs them.
    if name != "many-machines.md"
    for number, snippet in enumerate(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
}


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
    calibrate(CalibrateConfig(model=str(copy), labels=(str(directory / "labels"),)))
    return copy


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    words = expand_repeated_options(shlex.split(line))
    group = typer.main.get_command(make_app())
    name, command, rest = group.resolve_command(group.make_context("fastbert-jobs", words), words)
    context = command.make_context(name, rest)
    # What is for a Beam runner, in its own options.
    check_beam_args(context.args, [])


def test_every_command_is_shown() -> None:
    group = typer.main.get_command(make_app())
    assert {line.split()[0] for line in COMMANDS} == set(group.commands)


@pytest.mark.parametrize("snippet", SNIPPETS.values(), ids=SNIPPETS)
def test_python_runs(
    snippet: str,
    calibrated: Path,
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "quickstart"
    home.mkdir()
    (home / "fastbert").symlink_to(calibrated)
    (home / "teacher").symlink_to(teacher)
    # So many that of 1 % of them some may disagree.
    write_tsv(home / "test.tsv", {"text": make_texts(200), "label": ["no", "yes"] * 100})
    monkeypatch.chdir(tmp_path)
    seen: dict[str, object] = {}
    exec(compile(snippet, "snippet", "exec"), seen)
    printed = capsys.readouterr().out
    outputs = re.findall(r'output="([\w-]+)"', snippet)
    for output in outputs:
        assert (tmp_path / output / "_MANIFEST.json").is_file()
        assert (tmp_path / output / "part-00000-of-00001.parquet").is_file()
        if "ScoreWithEarlyExit" in snippet:
            assert audit(AuditConfig(scores=output)).report.job.rows == 200
    if "answers" in seen:
        labels = FastBertForSequenceClassification.from_pretrained(calibrated).labels
        assert set(seen["answers"].predictions) <= set(labels)
    elif not outputs:
        assert "Returns a new tensor." in printed
    if "except FastBertJobsError" in snippet:
        assert "`speed`" in printed


@pytest.mark.parametrize(
    ("page", "pattern"),
    [
        ("tutorial.md", r"of the families (.*?)\. It stays frozen"),
        ("README.md", r"Supported are (.*?)\.\n"),
    ],
)
def test_families_are_named(page: str, pattern: str) -> None:
    (named,) = re.findall(pattern, PAGES[page])
    assert {name.strip() for name in named.replace(" and ", ", ").split(",")} == set(SUPPORTED_FAMILIES)


def test_output_blocks_are_filled() -> None:
    blocks = re.findall(r"<!-- output of: (.+?) -->\n(.*?)<!-- /output -->", DOCUMENTS, flags=re.DOTALL)
    assert blocks
    assert all(text.startswith("```text\n$ ") for _, text in blocks), [name for name, _ in blocks]


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 130
