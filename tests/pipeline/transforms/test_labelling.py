from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from jobs.commands.label_teacher import run as label_teacher
from jobs.configs.label_teacher import LabelTeacherConfig
from model.errors import InputError, ParameterError
from model.guarantee.unit import Unit
from pipeline import LabelWithTeacher
from pipeline.contract.job import LabelSettings
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest, read_manifest
from pipeline.results.soft_labels import SoftLabels
from tests.job_fixtures import make_texts, snapshot, write_tsv

TEXTS = make_texts(80)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})


@pytest.fixture
def arguments(rows: Path, teacher: Path) -> dict[str, Any]:
    return {
        "input": [str(rows)], "text_column": "text", "teacher": str(teacher), "rows_per_shard": 25,
        "precision": "fp32",
    }  # fmt: skip


_manifests: list[LabelManifest] = []


def collect(manifest: LabelManifest) -> None:
    _manifests.append(manifest)


def test_a_pipeline_of_the_users_own_leaves_what_the_command_leaves(
    arguments: dict[str, Any], rows: Path, teacher: Path, tmp_path: Path
):
    _manifests.clear()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | LabelWithTeacher(**arguments, output=str(tmp_path / "own")) | beam.Map(collect)
    label_teacher(
        LabelTeacherConfig(
            input=(str(rows),), text_column="text", teacher=str(teacher), rows_per_shard=25,
            precision="fp32", output=str(tmp_path / "command"),
        )
    )  # fmt: skip
    assert snapshot(tmp_path / "own") == snapshot(tmp_path / "command")
    assert _manifests == [read_manifest(OutputLayout(str(tmp_path / "own")), LabelManifest)]
    labels = SoftLabels.open(str(tmp_path / "own"))
    assert _manifests[0].counts["train"] + labels.num_calibration_rows == 80


def test_a_single_input_may_be_given_as_it_is(arguments: dict[str, Any], rows: Path, tmp_path: Path):
    transform = LabelWithTeacher(**{**arguments, "input": str(rows)}, output=str(tmp_path / "out"))
    assert [source.path for source in transform._job.inputs.sources] == [str(rows)]


@pytest.mark.parametrize(
    ("options", "unit"),
    [
        ({}, Unit.TEXTS),
        ({"promise_of": "texts"}, Unit.TEXTS),
        ({"promise_of": "rows"}, Unit.ROWS),
        ({"group_column": "text"}, Unit.GROUPS),
    ],
)
def test_a_promise_is_of_texts_rows_or_groups(
    arguments: dict[str, Any], tmp_path: Path, options: dict[str, str], unit: Unit
):
    settings = LabelWithTeacher(**arguments, **options, output=str(tmp_path / "out"))._job.task.settings
    assert isinstance(settings, LabelSettings)
    assert (settings.unit, settings.columns.group) == (unit, options.get("group_column"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"input": ["nowhere.tsv"]}, InputError),
        ({"text_column": "other"}, InputError),
        ({"max_length": 1000}, ParameterError),
        ({"precision": "bf-16"}, ParameterError),
        ({"calibration_fraction": 2}, ParameterError),
        ({"max_rejected": -1}, ParameterError),
        ({"promise_of": "groups"}, ParameterError),
        ({"promise_of": "rows", "group_column": "text"}, ParameterError),
        ({"group_column": "other"}, InputError),
    ],
)
def test_mistakes_are_told_when_it_is_made(
    arguments: dict[str, Any], tmp_path: Path, change: dict[str, Any], error: type[Exception]
):
    with pytest.raises(error):
        LabelWithTeacher(**{**arguments, **change}, output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
