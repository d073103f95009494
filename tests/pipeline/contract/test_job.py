import json
import string
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.answers.rule import AnswerRule, Cut
from model.answers.scaling import Scaling
from model.answers.task import Task
from model.guarantee.unit import Unit
from model.version import NUMERICS_VERSION
from pipeline.contract.columns import Columns
from pipeline.contract.job import InputEntry, JobDescription, LabelSettings, ScoreSettings, differences
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.reading.inputs import inspect_inputs
from tests.pipeline.contract.score_jobs import INPUT, LABEL, SCORE, job

shares = st.floats(0, 1)
names = st.text(string.ascii_letters + "é", max_size=3)
# No -0.0: `Cut.parse` makes 0.0 of it.
cuts = st.builds(Cut, label=names, value=st.floats(-9, -0.5) | st.floats(0, 9))
scalings = shares.map(Scaling.by) | st.tuples(shares, shares).map(
    lambda drawn: Scaling(temperatures=drawn[:1], biases=drawn[1:])
)
settings_of_score = st.builds(
    ScoreSettings,
    model_hash=names,
    device=st.sampled_from(["cpu", "cuda"]),
    precision=names,
    backend=names,
    max_length=st.integers(1, 512),
    columns=st.builds(
        Columns,
        text=names,
        text_pair=st.none() | names,
        keep=st.just(()) | st.tuples(names),
        group=st.none() | names,
    ),
    rows_per_shard=st.integers(1, 9),
    policy=names,
    thresholds=st.tuples(shares, shares),
    scalings=st.tuples(scalings, scalings),
    lexical_threshold=shares,
    lexical_scaling=scalings,
    length_exponent=shares,
    shadow_fraction=shares,
    shadow_unit=st.sampled_from(Unit),
    sample_fraction=shares,
    answer=st.builds(
        AnswerRule,
        task=st.sampled_from(Task),
        cuts=st.lists(cuts, max_size=2).map(tuple),
        tolerance=st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
    ),
)
CHANGES: dict[str, Any] = {
    "model_hash": "abd",
    "device": "cuda",
    "precision": "bf16",
    "backend": "torch",
    "max_length": 25,
    "columns": Columns(text="u", keep=("a",)),
    "rows_per_shard": 4,
    "policy": "speed 0.25",
    "answer": AnswerRule(task=Task.ONE_LABEL, cuts=(Cut(label="a", value=0.9),)),
    "task": Task.LABEL_SET,
    "thresholds": (0.5, 0.25),
    "scalings": (Scaling.by(1.0), Scaling(temperatures=(1.5, 2.0), biases=(0.0, -0.4))),
    "lexical_threshold": 0.5,
    "lexical_scaling": Scaling.by(1.0),
    "length_exponent": 0.25,
    "shadow_fraction": 0.5,
    "shadow_unit": Unit.ROWS,
    "sample_fraction": 0.75,
    "calibration_fraction": 0.2,
    "unit": Unit.ROWS,
    "teacher_texts": "1",
}


@given(settings_of_score, settings_of_score)
def test_the_fingerprint_is_equal_where_the_settings_are(one: ScoreSettings, two: ScoreSettings):
    fingerprint = JobDescription(settings=one, inputs=()).fingerprint
    assert fingerprint == JobDescription(settings=replace(one), inputs=()).fingerprint
    assert len(fingerprint) == 64
    assert (fingerprint == JobDescription(settings=two, inputs=()).fingerprint) == (one == two)


@pytest.mark.parametrize("settings", [SCORE, LABEL])
def test_the_fingerprint_covers_every_setting(settings: ScoreSettings | LabelSettings):
    changed = [field.name for field in fields(settings)]
    different = [job(settings), *(job(settings, **{name: CHANGES[name]}) for name in changed)]
    assert len({each.fingerprint for each in different}) == 1 + len(changed)


def test_the_fingerprint_covers_the_command_and_the_inputs():
    other = InputEntry(path="b.csv", format="csv", size=9, checksum="c0ffee")
    inputs: list[tuple[InputEntry, ...]] = [(), (INPUT,), (INPUT, other), (other, INPUT)]
    inputs += [(replace(INPUT, **{name: value}),) for name, value in (("size", 10), ("checksum", "d"))]
    different = [JobDescription(settings=SCORE, inputs=each) for each in inputs]
    assert len({each.fingerprint for each in [*different, job(LABEL)]}) == len(different) + 1
    assert (job().as_json()["command"], job(LABEL).as_json()["command"]) == ("score", "label-teacher")


@pytest.mark.parametrize("version", ["NUMERICS_VERSION", "SCHEMA_VERSION"])
def test_the_fingerprint_covers_the_versions_of_numbers_and_files(
    version: str, monkeypatch: pytest.MonkeyPatch
):
    before = job().fingerprint
    assert job().as_json()["numerics_version"] == NUMERICS_VERSION
    assert job().as_json()["schema_version"] == SCHEMA_VERSION
    monkeypatch.setattr(f"pipeline.contract.job.{version}", 99)
    assert job().as_json()[version.lower()] == 99
    assert job().fingerprint != before


def test_a_description_is_what_comes_back_from_disk():
    content = job().as_json()
    assert json.loads(json.dumps(content)) == content
    assert content["thresholds"] == [0.5, 0.5]
    assert content["columns"] == {"text": "t", "text_pair": None, "id": None, "keep": ["a"], "group": None}
    assert content["inputs"] == [{"path": "a.csv", "format": "csv", "size": 9, "checksum": "c0ffee"}]


def test_an_input_that_changed_is_another_input(tmp_path: Path):
    def described(content: str) -> tuple[InputEntry, ...]:
        (tmp_path / "a.tsv").write_text(content)
        return inspect_inputs([str(tmp_path)], Columns(text="t"), rows_per_shard=2).describe()

    before = described("t\none\ntwo\n")
    assert before == described("t\none\ntwo\n")
    assert before != described("t\none\ntoo\n")
    assert before != described("t\none\ntwo\nthree\n")
    long = "t\n" + "x" * 10**6
    assert described(long + "a" + long) != described(long + "b" + long)
    (entry,) = before
    assert entry.path == str(tmp_path / "a.tsv")
    assert (entry.format, entry.size) == ("tsv", 10)


def test_equal_descriptions_do_not_differ():
    assert differences(job().as_json(), job().as_json()) == ""


def test_what_differs_is_named_with_both_values():
    here, there = job(rows_per_shard=4, policy="speed 0.1").as_json(), job().as_json()
    assert differences(here, there) == (
        "rows_per_shard (3 there, 4 asked for), policy (speed 0.5 there, speed 0.1 asked for)"
    )


def test_what_is_long_or_an_input_is_named_alone():
    here = JobDescription(settings=replace(SCORE, policy="p" * 41), inputs=())
    assert differences(here.as_json(), job().as_json()) == "policy, inputs"


def test_what_only_one_of_them_says_is_named():
    assert differences({"a": 1}, {"b": 2}) == "a (None there, 1 asked for), b (2 there, None asked for)"
