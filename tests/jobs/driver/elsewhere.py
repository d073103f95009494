"""Jobs that are run on another engine, to be held against the same ones here."""

from dataclasses import dataclass, field
from pathlib import Path

from jobs.configs.runner import RunnerConfig
from jobs.driver.beam_driver import run_corpus_job
from pipeline.contract.manifest import LabelManifest
from pipeline.transforms.corpus_job import CorpusJob
from tests.job_fixtures import CommandLine, make_texts, snapshot, write_tsv


@dataclass(frozen=True, kw_only=True)
class Config:
    """Of a command, as far as the driver wants it."""

    output: str
    runner: RunnerConfig = field(default_factory=RunnerConfig)


def written_by(job: CorpusJob[LabelManifest], runner: RunnerConfig | None = None) -> dict[str, bytes]:
    """Run a job, in this process unless a runner says otherwise, and return what it wrote."""
    config = Config(output=job.output, runner=runner or RunnerConfig())
    run_corpus_job(job, config, {"a": "b"})
    return snapshot(Path(job.output))


def assert_scores_as_here(command: CommandLine, model: Path, home: Path, *there: object) -> str:
    """Score forty rows here and with other options, to the same bytes; return what these options said."""
    path = write_tsv(home / "rows.tsv", {"text": [*make_texts(40), ""]})
    words = (
        "score", "--input", path, "--text-column", "text", "--model", model, "--speed", 0.7,
        "--rows-per-shard", 9, "--threads", 1,
    )  # fmt: skip
    command(*words, "--output", home / "here")
    out = command(*words, "--output", home / "there", *there)
    assert snapshot(home / "there") == snapshot(home / "here")
    return out
