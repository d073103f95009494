import pickle
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
import torch

from jobs.commands.audit import run as audit
from jobs.commands.score import run as score
from jobs.configs.audit import AuditConfig
from jobs.configs.score import ScoreConfig
from model.errors import InputError, OutputError, ParameterError
from model.exits.policy import ExitPolicy
from model.guarantee.unit import Unit
from pipeline import ScoreWithEarlyExit
from pipeline.contract.columns import Columns
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest, read_manifest
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.score_task import ScoreTask
from pipeline.transforms.scoring import score_job
from tests.job_fixtures import make_texts, read_output, snapshot, write_tsv

TEXTS = make_texts(80)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})


@pytest.fixture
def arguments(rows: Path, fastbert: Path) -> dict[str, Any]:
    return {
        "input": [str(rows)], "text_column": "text", "model": str(fastbert), "speed": 0.5,
        "rows_per_shard": 25, "precision": "fp32",
    }  # fmt: skip


_manifests: list[ScoreManifest] = []


def collect(manifest: ScoreManifest) -> None:
    _manifests.append(manifest)


def run(**arguments: Any) -> ScoreManifest:
    """Run the transform in a pipeline of the user's own, and return what it returns."""
    _manifests.clear()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | ScoreWithEarlyExit(**arguments) | beam.Map(collect)
    (manifest,) = _manifests
    return manifest


def test_a_pipeline_of_the_users_own_leaves_what_the_command_leaves(
    arguments: dict[str, Any], rows: Path, fastbert: Path, tmp_path: Path
):
    manifest = run(**arguments, output=str(tmp_path / "own"))
    score(
        ScoreConfig(
            input=(str(rows),), text_column="text", model=str(fastbert), speed=0.5, rows_per_shard=25,
            precision="fp32", output=str(tmp_path / "command"),
        )
    )  # fmt: skip
    assert snapshot(tmp_path / "own") == snapshot(tmp_path / "command")
    assert read_manifest(OutputLayout(str(tmp_path / "own")), ScoreManifest) == manifest
    assert manifest.counts["rows"] == 80
    assert audit(AuditConfig(scores=str(tmp_path / "own"))).report.job.rows == 80


def test_it_goes_on_where_it_was_stopped(arguments: dict[str, Any], tmp_path: Path):
    run(**arguments, output=str(tmp_path / "out"))
    whole = snapshot(tmp_path / "out")
    (tmp_path / "out" / "_MANIFEST.json").unlink()
    (tmp_path / "out" / "part-00001-of-00004.parquet").unlink()
    run(**arguments, output=str(tmp_path / "out"))
    assert snapshot(tmp_path / "out") == whole
    run(**arguments, output=str(tmp_path / "out"))
    assert snapshot(tmp_path / "out") == whole


def test_another_job_on_the_same_directory_is_refused(arguments: dict[str, Any], tmp_path: Path):
    run(**arguments, output=str(tmp_path / "out"))
    before = snapshot(tmp_path / "out")
    with pytest.raises(OutputError, match=r"differs in policy .*; choose another `output`, or `overwrite`"):
        run(**{**arguments, "speed": 0.2}, output=str(tmp_path / "out"))
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"input": ["nowhere.tsv"]}, InputError),
        ({"text_column": "other"}, InputError),
        ({"speed": 2}, ParameterError),
        ({"policy": ExitPolicy.from_exit_layer(2, num_layers=3)}, ParameterError),
        ({"precision": "bf-16"}, ParameterError),
        ({"shadow_fraction": 2}, ParameterError),
        ({"max_rejected": -1}, ParameterError),
        ({"keep": ["prediction"]}, InputError),
    ],
)
def test_mistakes_are_told_when_it_is_made(
    arguments: dict[str, Any], tmp_path: Path, change: dict[str, Any], error: type[Exception]
):
    with pytest.raises(error):
        ScoreWithEarlyExit(**{**arguments, **change}, output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_mistake_that_shows_in_a_worker_is_raised(arguments: dict[str, Any], rows: Path, tmp_path: Path):
    transform = ScoreWithEarlyExit(**arguments, output=str(tmp_path / "out"))
    write_tsv(rows, {"text": TEXTS[:60]})
    with (
        pytest.raises(InputError, match="changed since the job was planned"),
        beam.Pipeline(runner="FnApiRunner") as pipeline,
    ):
        _ = pipeline | transform
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()


def test_kept_columns_and_ids_come_through(arguments: dict[str, Any], tmp_path: Path):
    path = write_tsv(tmp_path / "ids.tsv", {"text": TEXTS, "key": range(80), "tag": ["a"] * 80})
    run(**{**arguments, "input": [str(path)]}, id_column="key", keep=["tag"], output=str(tmp_path / "out"))
    scores: pa.Table = read_output(tmp_path / "out")
    assert scores["id"].to_pylist() == [str(number) for number in range(80)]
    assert set(scores["tag"].to_pylist()) == {"a"}


def test_a_group_column_draws_the_shadow_sample_and_is_kept_where_it_is_named(
    arguments: dict[str, Any], tmp_path: Path
):
    path = write_tsv(tmp_path / "threads.tsv", {"text": TEXTS, "thread": [row // 4 for row in range(80)]})
    options = {**arguments, "input": [str(path)], "group_column": "thread", "shadow_fraction": 0.5}
    manifest = run(**options, output=str(tmp_path / "out"))
    assert (manifest.settings.shadow_unit, manifest.settings.columns.group) == (Unit.GROUPS, "thread")
    run(**options, keep="thread", output=str(tmp_path / "kept"))
    plain, kept = (read_output(tmp_path / name) for name in ("out", "kept"))
    assert "thread" not in plain.column_names
    frame = kept.to_pandas()
    assert (frame["teacher_prediction"].notna().groupby(frame["thread"]).nunique() == 1).all()
    assert 0 < frame.dropna(subset="teacher_prediction")["unit_hash"].nunique() < 20
    assert frame["unit_hash"].nunique() == 20
    assert kept.drop_columns(["thread"]).equals(plain)


def test_a_single_input_and_a_single_kept_column_may_be_given_as_they_are(
    arguments: dict[str, Any], tmp_path: Path
):
    path = write_tsv(tmp_path / "tags.tsv", {"text": TEXTS, "tag": ["a"] * 80})
    transform = ScoreWithEarlyExit(
        **{**arguments, "input": str(path)}, keep="tag", output=str(tmp_path / "out")
    )
    inputs = transform._job.inputs
    assert [source.path for source in inputs.sources] == [str(path)]
    assert inputs.options.columns.keep == ("tag",)


def test_neither_speed_nor_policy_is_full_depth(arguments: dict[str, Any], tmp_path: Path):
    transform = ScoreWithEarlyExit(**{**arguments, "speed": None}, output=str(tmp_path / "out"))
    assert transform._job.task.settings.policy == "speed 0"


def test_the_model_is_loaded_once_where_driver_and_worker_are_one_process(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ScoreTask, "load", lambda self: pytest.fail("it is loaded already"))
    assert run(**arguments, output=str(tmp_path / "out")).counts["rows"] == 80


def test_a_job_leaves_its_model_behind_where_it_goes(arguments: dict[str, Any], tmp_path: Path):
    transform = ScoreWithEarlyExit(**arguments, output=str(tmp_path / "out"))
    job: CorpusJob[ScoreManifest] = transform._job
    assert job.holder is not None
    pickled = pickle.dumps(job)
    assert pickle.loads(pickled).holder is None
    assert len(pickled) < 20_000


@pytest.mark.parametrize("threads", [1, 3])
def test_the_model_of_the_driver_computes_on_the_jobs_threads(
    arguments: dict[str, Any], fastbert: Path, tmp_path: Path, threads: int
):
    before = torch.get_num_threads()
    given = {name: value for name, value in arguments.items() if name != "text_column"}
    job = score_job(
        **given, columns=Columns(text="text"), output=str(tmp_path / "out"), torch_threads=threads
    )
    assert job.holder is not None
    assert job.holder.loaded.engine._cores.count == threads
    assert torch.get_num_threads() == before
