import json
from dataclasses import replace
from pathlib import Path

import pytest

from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.errors import ArtifactError
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.risk_constraint import ConstraintPart, Kind
from model.guarantee.risk_control import NameRisk, RiskEstimate
from pipeline.contract.certificate import Certificate
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import (
    LabelManifest,
    Manifest,
    ScoreManifest,
    ShardEntry,
    read_manifest,
    sum_counts,
)
from pipeline.contract.output import claim_output
from pipeline.contract.storage import read_json, write_json
from pipeline.contract.typed_json import write_typed
from tests.model.exit_populations import CALIBRATED_FOR, exit_calibration
from tests.pipeline.contract.score_jobs import FLOPS, LABEL, SCORE, done, job, write_shards

KINDS = {"score": (SCORE, ScoreManifest), "label-teacher": (LABEL, LabelManifest)}


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


def change(layout: OutputLayout, **changes: object) -> None:
    """Change a manifest by hand."""
    write_json(layout.manifest, {**read_json(layout.manifest), **changes})


@pytest.mark.parametrize("command", KINDS)
def test_what_is_committed_is_read(layout: OutputLayout, command: str):
    settings, kind = KINDS[command]
    manifest = done(layout, job(settings))
    found = read_manifest(layout, kind)
    assert found == manifest
    assert type(found) is kind
    assert found.command == kind.COMMAND == command
    assert found.settings == settings


def test_it_is_parsed_once(layout: OutputLayout, monkeypatch: pytest.MonkeyPatch):
    done(layout, job())
    paths: list[str] = []
    monkeypatch.setattr(
        "pipeline.contract.typed_json.read_json", lambda path: paths.append(path) or read_json(path)
    )
    monkeypatch.setattr("pipeline.contract.manifest.read_json", paths.append)
    read_manifest(layout, ScoreManifest)
    assert paths == [layout.manifest]


def test_a_certificate_is_read_as_it_was_written(layout: OutputLayout):
    done(layout, job())
    part = ConstraintPart(kind=Kind.MISSED, name=1, share=0.2)
    label = NameRisk(part=part, num_rows=30, num_wrong=1, upper_bound=0.15)
    risk = RiskEstimate(
        num_rows=300, num_disagreements=2, upper_bound=0.02, per_name=(label,), confidence=0.95
    )
    policy = CalibratedPolicy(
        thresholds=(0.1, 0.2), name="p", answer=AnswerRule(task=Task.ONE_LABEL),
        calibrated_for=CALIBRATED_FOR, is_certified=True, saved_compute=2.5,
        risk=risk, reference=exit_calibration(900).policy(target_speedup=1.2).reference,
        num_calibration_rows=600, speed_curve=((2.0, 2.1),), max_disagreement=0.02,
    )  # fmt: skip
    certificate = Certificate.of(policy, ("é", "b"))
    manifest = replace(read_manifest(layout, ScoreManifest), certificate=certificate)
    assert manifest.flops == FLOPS
    # As of ModernBERT.
    manifest = replace(manifest, flops=replace(FLOPS, attention_reaches=(None, 64)))
    write_typed(layout.manifest, manifest)
    assert read_manifest(layout, ScoreManifest) == manifest


def test_what_is_not_finished_is_refused(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    with pytest.raises(ArtifactError, match="is not finished; run its `fastbert-jobs score` command again"):
        read_manifest(layout, ScoreManifest)


@pytest.mark.parametrize("make", [True, False])
def test_what_is_no_output_is_refused(layout: OutputLayout, make: bool):
    if make:
        Path(layout.directory).mkdir()
    with pytest.raises(ArtifactError, match="is no output of `fastbert-jobs score`"):
        read_manifest(layout, ScoreManifest)


@pytest.mark.parametrize(("command", "kind"), [("score", LabelManifest), ("label-teacher", ScoreManifest)])
def test_the_output_of_another_command_is_refused(layout: OutputLayout, command: str, kind: type[Manifest]):
    done(layout, job(KINDS[command][0]))
    with pytest.raises(ArtifactError, match=f"was written by `{command}`, not by `{kind.COMMAND}`"):
        read_manifest(layout, kind)


def test_another_version_is_refused(layout: OutputLayout):
    done(layout, job())
    change(layout, schema_version=1)
    with pytest.raises(ArtifactError) as error:
        read_manifest(layout, ScoreManifest)
    assert "is of version 1 of the data contract" in str(error.value)
    assert str(error.value).endswith("; make it again with `fastbert-jobs score`")


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", "{}"])
def test_a_damaged_manifest_is_refused_in_one_line(layout: OutputLayout, content: str):
    done(layout, job())
    Path(layout.manifest).write_text(content)
    with pytest.raises(ArtifactError) as error:
        read_manifest(layout, ScoreManifest)
    assert layout.manifest in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("; make it again with `fastbert-jobs score`")


@pytest.mark.parametrize(
    "name", ["labels", "shards", "settings", "flops", "counts", "certificate", "command"]
)
def test_a_manifest_without_a_field_is_damaged(layout: OutputLayout, name: str):
    done(layout, job())
    content = json.loads(Path(layout.manifest).read_text())
    del content[name]
    Path(layout.manifest).write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=f"is damaged: .*{name}"):
        read_manifest(layout, ScoreManifest)


def test_counts_are_those_of_all_shards():
    shards = [
        ShardEntry(name="a", rows=3, counts={"rejected": 1, "exit_layer_1": 3}, checksum=""),
        ShardEntry(name="b", rows=2, counts={"rejected": 0, "exit_layer_2": 2}, checksum=""),
    ]
    assert sum_counts(shards) == {"rows": 5, "rejected": 1, "exit_layer_1": 3, "exit_layer_2": 2}
    assert sum_counts([]) == {"rows": 0}
