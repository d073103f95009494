import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from model.errors import ArtifactError, OutputError, ParameterError
from model.exits.policy import CalibratedFor
from model.guarantee.calibration_split import search_rows
from model.guarantee.unit import Unit
from pipeline.results.calibration import Calibration
from pipeline.results.calibration_report import SPEEDUPS
from tests.model.exit_populations import CALIBRATED_FOR, LABELS, exit_calibration

FILES = ("calibration.json", "calibration.parquet")


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    exits = exit_calibration()
    num_rows = len(exits)
    return Calibration.of(
        exits, sources=["a.tsv", "b.tsv"] * (num_rows // 2), row_numbers=np.arange(num_rows), confidence=0.9
    )


@pytest.fixture
def saved(calibration: Calibration, tmp_path: Path) -> Path:
    calibration.save(str(tmp_path))
    return tmp_path


def refusal(directory: Path) -> str:
    """The one line by which a calibration is refused."""
    with pytest.raises(ArtifactError) as error:
        Calibration.load(str(directory))
    assert "\n" not in str(error.value)
    assert "`fastbert-jobs calibrate`" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "asked",
    [{"max_disagreement": 0.02, "confidence": 0.9, "max_missed": {"spam": 0.05}}, {"target_speedup": 2.0}],
)
def test_its_policies_are_those_of_its_exits_with_the_speed_curve(
    calibration: Calibration, asked: dict[str, float]
):
    policy, plain = calibration.policy(**asked), calibration.exits.policy(**asked)
    assert policy == replace(plain, speed_curve=calibration.report.speed_curve)
    assert [asked for asked, _ in policy.speed_curve] == [speed for speed in SPEEDUPS if speed < 3.3]
    assert policy.calibrated_for == CALIBRATED_FOR


def test_one_with_a_lexical_branch_is_saved_and_loaded(tmp_path: Path):
    exits = exit_calibration(num_rows=1000, lexical=True)
    calibration = Calibration.of(exits, sources=["a.tsv"] * 1000, row_numbers=np.arange(1000))
    calibration.save(str(tmp_path))
    loaded = Calibration.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.exits.logits, exits.logits)
    assert loaded.report == calibration.report
    assert [each.exit_layer for each in loaded.report.exits] == [0, 1, 2, 3, 4]
    target = next(each for each in loaded.report.targets if each.max_disagreement == 0.05)
    policy = loaded.policy(max_disagreement=0.05)
    assert (policy.lexical_threshold, policy.thresholds) == (target.lexical_threshold, target.thresholds)
    assert policy.lexical_threshold > 0


@pytest.mark.parametrize("unit", Unit)
def test_what_a_promise_is_of_is_saved_and_belongs_to_the_rows(tmp_path: Path, unit: Unit):
    exits = replace(exit_calibration(num_rows=1000), unit=unit)
    calibration = Calibration.of(exits, sources=["a.tsv"] * 1000, row_numbers=np.arange(1000))
    calibration.save(str(tmp_path))
    loaded = Calibration.load(str(tmp_path))
    assert loaded.exits.unit is loaded.report.unit is loaded.policy(max_disagreement=0.05).unit is unit
    path = tmp_path / "calibration.json"
    other = next(each for each in Unit if each is not unit)
    path.write_text(path.read_text().replace(f'"unit": "{unit}"', f'"unit": "{other}"'))
    assert "do not belong together" in refusal(tmp_path)


def test_exactly_one_thing_is_asked_for(calibration: Calibration):
    with pytest.raises(ParameterError, match="give exactly one of"):
        calibration.policy()


def test_what_is_saved_is_loaded(calibration: Calibration, saved: Path):
    loaded = Calibration.load(str(saved))
    for name, value in vars(calibration.exits).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(loaded.exits, name))
            assert value.dtype == getattr(loaded.exits, name).dtype
    for name in ("labels", "scalings", "flops", "cost", "calibrated_for"):
        assert getattr(loaded.exits, name) == getattr(calibration.exits, name)
    assert loaded.sources == calibration.sources
    np.testing.assert_array_equal(loaded.row_numbers, calibration.row_numbers)
    assert loaded.report == calibration.report
    for asked in ({"max_disagreement": 0.02}, {"target_speedup": 2.0}):
        assert loaded.policy(**asked) == calibration.policy(**asked)


def test_it_is_two_files_and_nothing_else(saved: Path):
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)


def test_the_same_calibration_is_the_same_bytes(calibration: Calibration, tmp_path: Path):
    for name in ("one", "two"):
        calibration.save(str(tmp_path / name))
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_was_loaded_is_saved_as_it_was(saved: Path, tmp_path: Path):
    Calibration.load(str(saved)).save(str(tmp_path / "again"))
    for file in FILES:
        assert (tmp_path / "again" / file).read_bytes() == (saved / file).read_bytes()


def test_where_nothing_can_be_written(calibration: Calibration, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"the calibration cannot be written to .*; give another `output`"):
        calibration.save(str(tmp_path / "file" / "below"))


# -- refused ------------------------------------------------------------------------------------------


def test_where_there_is_none(tmp_path: Path):
    assert "has no calibration.json; make it with `fastbert-jobs calibrate`" in refusal(tmp_path)


def test_a_file_system_that_cannot_be_used():
    with pytest.raises(ArtifactError, match=r"^'foo://x' cannot be used: .*foo"):
        Calibration.load("foo://x")


def test_a_report_without_its_rows(saved: Path):
    (saved / "calibration.parquet").unlink()
    assert "cannot be read" in refusal(saved)


@pytest.mark.parametrize("kept", [0, 4, 1000, -1])
def test_rows_that_are_cut_short(saved: Path, kept: int):
    path = saved / "calibration.parquet"
    path.write_bytes(path.read_bytes()[:kept])
    assert "cannot be read" in refusal(saved)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_report(saved: Path, content: str):
    (saved / "calibration.json").write_text(content)
    refusal(saved)


def test_a_report_of_another_version(saved: Path):
    report = json.loads((saved / "calibration.json").read_text())
    for version, found in ((1, "of version 1 of"), (None, "of an older version of")):
        (saved / "calibration.json").write_text(json.dumps({**report, "schema_version": version}))
        assert found in refusal(saved)


@pytest.mark.parametrize("name", ["fingerprint", "speed_curve", "scalings", "calibrated_for", "cost"])
def test_a_report_without_a_field(saved: Path, name: str):
    report = json.loads((saved / "calibration.json").read_text())
    del report[name]
    (saved / "calibration.json").write_text(json.dumps(report))
    assert name in refusal(saved)


def filtered(table: pa.Table) -> pa.Table:
    return table.slice(1)


def without_every_third(table: pa.Table) -> pa.Table:
    return table.take(pa.array([row for row in range(len(table)) if row % 3]))


def only_test_rows(table: pa.Table) -> pa.Table:
    return table.filter(pc.field("used_for") == "test")


def sorted_by_length(table: pa.Table) -> pa.Table:
    return table.sort_by("num_tokens")


def backwards(table: pa.Table) -> pa.Table:
    return table.take(pa.array(range(len(table) - 1, -1, -1)))


@pytest.mark.parametrize(
    "change", [filtered, without_every_third, only_test_rows, sorted_by_length, backwards]
)
def test_rows_that_were_filtered_or_sorted(saved: Path, change: Callable[[pa.Table], pa.Table]):
    path = saved / "calibration.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    assert "cannot be read: its rows were filtered or sorted" in refusal(saved)


def test_rows_that_were_swapped_with_others_of_the_same_use(saved: Path):
    path = saved / "calibration.parquet"
    table = pq.read_table(path)
    first, *_, last = np.flatnonzero(np.array(table["used_for"].to_pylist()) == "test")
    order = np.arange(len(table))
    order[[first, last]] = last, first
    pq.write_table(table.take(pa.array(order)), path)
    assert "do not belong together" in refusal(saved)


def test_rows_that_were_left_out_so_that_all_others_are_used_as_before(saved: Path):
    path = saved / "calibration.parquet"
    table = pq.read_table(path)
    uses = enumerate(table["used_for"].to_pylist())
    wanted = np.where(search_rows(np.zeros(len(table) - 30, dtype=np.bool_)), "search", "test")
    left = [next(row for row, use in uses if use == each) for each in wanted]
    pq.write_table(table.take(pa.array(left)), path)
    assert "do not belong together" in refusal(saved)


@pytest.mark.parametrize("name", ["exit_uncertainty", "num_tokens"])
def test_rows_with_other_values_in_a_column_that_thresholds_are_made_of(saved: Path, name: str):
    path = saved / "calibration.parquet"
    table = pq.read_table(path)
    column = table[name].to_pylist()
    others = pa.array([column[-1], *column[1:-1], column[0]], type=table.schema.field(name).type)
    changed = table.set_column(table.schema.get_field_index(name), table.schema.field(name), others)
    assert not changed.equals(table)
    pq.write_table(changed, path)
    assert "do not belong together" in refusal(saved)


def test_rows_without_a_column(saved: Path):
    path = saved / "calibration.parquet"
    pq.write_table(pq.read_table(path).drop_columns("exit_logits"), path)
    assert "cannot be read" in refusal(saved)


def test_labels_of_another_report(saved: Path):
    report = json.loads((saved / "calibration.json").read_text())
    report["labels"] = ["ham", "spam", "another"]
    (saved / "calibration.json").write_text(json.dumps(report))
    assert "do not belong together" in refusal(saved)


@pytest.mark.parametrize("name", CalibratedFor.__dataclass_fields__)
def test_a_report_that_says_it_holds_for_something_else(saved: Path, name: str):
    report = json.loads((saved / "calibration.json").read_text())
    stored = report["calibrated_for"][name]
    report["calibrated_for"][name] = stored + 1 if isinstance(stored, int) else "another"
    (saved / "calibration.json").write_text(json.dumps(report))
    assert "do not belong together" in refusal(saved)


def test_a_report_with_other_scalings(saved: Path):
    report = json.loads((saved / "calibration.json").read_text())
    report["scalings"][0]["temperatures"][0] = 1.4
    (saved / "calibration.json").write_text(json.dumps(report))
    assert "do not belong together" in refusal(saved)


def test_files_of_two_calibrations(saved: Path, tmp_path: Path):
    other = exit_calibration(seed=1)
    Calibration.of(other, sources=["a"] * len(other), row_numbers=np.arange(len(other))).save(
        str(tmp_path / "other")
    )
    (saved / "calibration.json").write_bytes((tmp_path / "other" / "calibration.json").read_bytes())
    assert "do not belong together" in refusal(saved)
    assert other.labels == LABELS
