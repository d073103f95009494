from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ArtifactError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.work_times import Phase, RunTimes, WorkTimes, read_run_times, write_run_times

# Whole microseconds are what counters hold; of these, sums are exact.
seconds = st.integers(0, 10**9).map(lambda quarters: quarters / 4)
work_times = st.builds(
    WorkTimes,
    num_rows=st.integers(0, 10**9),
    phases=st.dictionaries(st.sampled_from(Phase), seconds),
    parts=st.dictionaries(st.sampled_from(["embeddings", "layer_1", "branch_0"]), seconds),
)


@given(work_times)
def test_times_are_what_their_counters_say(times: WorkTimes):
    counts = times.as_counts()
    assert all(type(count) is int for count in counts.values())
    assert WorkTimes.of_counts({"rows": 3, "exit_layer_1": 2, **counts}) == times


def test_of_other_counters_there_are_no_times():
    assert WorkTimes.of_counts({"rows": 3}) == WorkTimes()
    assert WorkTimes().busy_seconds == 0


@given(work_times, work_times)
def test_workers_are_added_up_as_their_counters_are(one: WorkTimes, two: WorkTimes):
    first, second = one.as_counts(), two.as_counts()
    names = {**first, **second}
    summed = {name: first.get(name, 0) + second.get(name, 0) for name in names}
    assert one + two == WorkTimes.of_counts(summed)
    assert (one + two).busy_seconds == one.busy_seconds + two.busy_seconds


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


def run_times(fingerprint: str, wall_seconds: float) -> RunTimes:
    work = WorkTimes(num_rows=7, phases={Phase.READ: 0.5}, parts={"layer_1": 0.25})
    return RunTimes(fingerprint=fingerprint, wall_seconds=wall_seconds, work=work)


def test_every_run_of_the_job_is_found_and_none_of_another(layout: OutputLayout):
    assert read_run_times(layout, "here") == []
    runs = [run_times("here", 1.0), run_times("there", 2.0), run_times("here", 3.0)]
    for run in runs:
        write_run_times(layout, run)
    found = read_run_times(layout, "here")
    assert sorted(found, key=lambda run: run.wall_seconds) == [runs[0], runs[2]]


def test_a_damaged_file_is_named(layout: OutputLayout):
    write_run_times(layout, run_times("here", 1.0))
    (path,) = Path(layout.times_directory).iterdir()
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ArtifactError, match=f"{path.name}.*remove it"):
        read_run_times(layout, "here")
