"""The model of docs/scale.md: what it takes and what it chooses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.scale import ITEMS_OF_A_WORKER, MOST_ITEMS, SECONDS_OF_AN_ITEM, Job

jobs = st.builds(
    Job,
    num_rows=st.integers(10**6, 10**12),
    num_workers=st.integers(1, 5_000),
    rows_per_second=st.floats(10, 1e5),
    start_seconds=st.just(10.0),
)


@given(jobs)
def test_items_are_no_more_than_a_driver_bears(job: Job):
    assert job.num_items <= MOST_ITEMS


@given(jobs)
def test_items_are_enough_for_each_worker_or_as_many_as_a_driver_bears(job: Job):
    # Two digits are given, and rounded up.
    wanted = min(ITEMS_OF_A_WORKER * job.num_workers, MOST_ITEMS, job.num_rows)
    assert job.num_items >= wanted / 1.1 - 1


@given(jobs)
def test_an_item_takes_minutes_unless_there_would_be_too_many(job: Job):
    assert job.item_seconds <= 1.1 * SECONDS_OF_AN_ITEM + 10 or job.num_items > MOST_ITEMS / 1.2


@given(jobs)
def test_a_job_takes_what_its_rows_take_and_little_more(job: Job):
    at_least = job.num_rows / job.num_workers / job.rows_per_second
    assert job.seconds >= 0.999 * at_least
    if job.num_items >= ITEMS_OF_A_WORKER * job.num_workers:
        assert job.seconds <= 1.07 * at_least + job.item_seconds + job.start_seconds


def test_twice_the_workers_take_half_the_time():
    one, two = (
        Job(num_rows=10**9, num_workers=number, rows_per_second=500.0, start_seconds=0.0)
        for number in (50, 100)
    )
    assert one.seconds / two.seconds == pytest.approx(2, rel=0.02)
