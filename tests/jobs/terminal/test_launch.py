import pytest
import torch.distributed as dist

from jobs.terminal import launch
from jobs.terminal.launch import Launch, end_unless_first_to_fail, is_silent

TORCHRUN = {
    "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "host.example",
    "MASTER_PORT": "29500", "TORCHELASTIC_RESTART_COUNT": "3", "TORCHELASTIC_USE_AGENT_STORE": "True",
}  # fmt: skip


@pytest.fixture(autouse=True)
def torchrun(monkeypatch):
    """Have this process be what torchrun started; return what makes it another one."""
    launch._is_first_to_fail.cache_clear()

    def become(**changes):
        for name, value in {**TORCHRUN, **changes}.items():
            monkeypatch.setenv(name, value)

    become()
    return become


@pytest.fixture
def store(monkeypatch):
    """What torchrun's own store holds, and where it was looked for."""
    held, found = dist.HashStore(), []

    def connect(address, port, **options):
        found.append((address, port, options["is_master"]))
        return held

    monkeypatch.setattr(dist, "TCPStore", connect)
    return found


@pytest.fixture
def waited(monkeypatch):
    """The seconds that were waited for."""
    seconds = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def test_what_torchrun_says():
    assert Launch.of_environment() == Launch(
        rank=1,
        size=2,
        local_rank=1,
        local_size=2,
        master_address="host.example",
        master_port=29500,
        attempt=3,
    )
    assert is_silent()


def test_the_first_is_not_silent(torchrun):
    torchrun(RANK="0")
    assert not is_silent()


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
@pytest.mark.parametrize("value", [None, "", "x"])
def test_who_was_not_started_by_torchrun_is_alone(monkeypatch, name, value):
    if value is None:
        monkeypatch.delenv(name)
    elif (name, value) == ("MASTER_ADDR", "x"):
        return
    else:
        monkeypatch.setenv(name, value)
    assert Launch.of_environment() is None
    assert not is_silent()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"WORLD_SIZE": "4"}, False),
        ({"WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1"}, True),
        ({"WORLD_SIZE": "4", "MASTER_ADDR": "localhost"}, True),
    ],
)
def test_whether_other_machines_take_part(torchrun, changes, expected):
    torchrun(**changes)
    assert Launch.of_environment().is_on_one_machine == expected


def test_of_all_that_fail_the_first_speaks_and_the_others_wait_to_be_ended(torchrun, store, waited):
    end_unless_first_to_fail()
    # Its error goes through several hands.
    end_unless_first_to_fail()
    assert (store, waited) == ([("host.example", 29500, False)], [])
    torchrun(RANK="0")
    with pytest.raises(SystemExit) as exit_info:
        end_unless_first_to_fail()
    assert exit_info.value.code == 2
    assert len(waited) == 1
    # They were started anew.
    torchrun(RANK="0", TORCHELASTIC_RESTART_COUNT="4")
    end_unless_first_to_fail()


@pytest.mark.parametrize(
    "changes", [{"RANK": ""}, {"WORLD_SIZE": "1"}, {"TORCHELASTIC_USE_AGENT_STORE": "False"}], ids=str
)
def test_where_nobody_else_could_speak_nobody_is_asked(torchrun, store, changes):
    torchrun(**changes)
    end_unless_first_to_fail()
    assert store == []


def test_where_torchrun_is_gone_everybody_speaks(monkeypatch, waited):
    def fail(*_, **__):
        raise dist.DistNetworkError("the client socket has timed out")

    monkeypatch.setattr(dist, "TCPStore", fail)
    end_unless_first_to_fail()
    assert waited == []
