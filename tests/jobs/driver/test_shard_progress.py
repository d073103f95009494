from jobs.driver.shard_progress import pause_after


def test_of_few_shards_progress_is_shown_twice_a_second():
    assert pause_after(0.001, least=0.5) == 0.5


def test_looking_at_many_shards_takes_no_more_than_a_twentieth_of_the_time():
    for took in (0.1, 1.0, 60.0):
        assert took / pause_after(took, least=0.5) <= 0.05
