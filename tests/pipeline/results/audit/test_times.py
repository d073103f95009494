import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract.work_times import Phase, RunTimes, WorkTimes
from pipeline.results.audit.times import JobTimes, job_times

PARTS = ("embeddings", "layer_1", "branch_1", "layer_2", "branch_0")
seconds = st.floats(0.001, 1000)
works = st.builds(
    WorkTimes,
    num_rows=st.integers(1, 100),
    phases=st.fixed_dictionaries(dict.fromkeys(Phase, seconds)),
    parts=st.fixed_dictionaries(dict.fromkeys(PARTS, seconds)),
)


def times_of(*works: WorkTimes) -> JobTimes | None:
    runs = [RunTimes(fingerprint="", wall_seconds=2.0, work=work) for work in works]
    return job_times(runs, num_layers=2)


@given(st.lists(works, min_size=1, max_size=3))
def test_what_workers_were_at_is_all_that_they_were_at(given_works: list[WorkTimes]):
    times = times_of(*given_works)
    assert times is not None
    assert times.num_runs == len(given_works)
    assert times.wall_seconds == 2 * len(given_works)
    assert times.num_rows == sum(work.num_rows for work in given_works)
    assert times.busy_seconds == pytest.approx(sum(work.busy_seconds for work in given_works))
    assert sum(part.seconds for part in times.parts) == pytest.approx(times.busy_seconds)
    assert sum(part.share for part in times.parts) == pytest.approx(1)
    assert [part.name for part in times.parts] == [
        "reading", "tokenizing", "exit 0", "layers", "branches", "writing",
    ]  # fmt: skip


def test_the_network_is_shared_out_by_core_seconds():
    work = WorkTimes(
        num_rows=4,
        phases={Phase.READ: 1.0, Phase.TOKENIZE: 2.0, Phase.NETWORK: 4.0, Phase.WRITE: 1.0},
        parts={"embeddings": 1.0, "layer_1": 3.0, "branch_1": 1.0, "layer_2": 2.0, "branch_0": 1.0},
    )
    times = times_of(work)
    assert times is not None
    assert {part.name: part.seconds for part in times.parts} == {
        "reading": 1, "tokenizing": 2, "exit 0": 0.5, "layers": 3, "branches": 0.5, "writing": 1,
    }  # fmt: skip
    assert [(each.layer, each.seconds, each.branch_seconds) for each in times.layers] == [
        (1, 1.5, 0.5), (2, 1.0, 0.0),
    ]  # fmt: skip


def test_what_a_gpu_is_at_is_told_as_a_whole():
    times = times_of(WorkTimes(num_rows=1, phases={Phase.READ: 1.0, Phase.NETWORK: 3.0}))
    assert times is not None
    assert [(part.name, part.share) for part in times.parts] == [("reading", 0.25), ("network", 0.75)]
    assert times.layers == ()


def test_where_no_run_tells_anything_nothing_is_told():
    assert times_of() is None
    assert times_of(WorkTimes()) is None
