import os
from contextlib import nullcontext

import pytest
import torch
import torch.distributed as dist

from jobs.driver.process_group import describe_processes, process_group, take_device
from jobs.terminal.launch import Launch
from model.errors import EnvironmentMismatchError
from model.training.ranks import ONE_PROCESS
from tests.sockets import listening_sockets

ALONE = Launch(
    rank=0, size=1, local_rank=0, local_size=1, master_address="host.example", master_port=1, attempt=0
)
CPU = torch.device("cpu")
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Processes meet in this one's memory."""
    start = dist.init_process_group

    def init(backend, timeout):
        start(backend, timeout=timeout, store=dist.HashStore(), rank=0, world_size=1)

    monkeypatch.setattr(dist, "init_process_group", init)
    for name in INTERFACES:
        # So that what the command sets is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_who_was_started_by_itself_joins_nobody():
    with process_group(None, CPU) as ranks:
        assert ranks is ONE_PROCESS
        assert not dist.is_initialized()


def test_on_one_machine_it_listens_on_loopback_alone():
    before = listening_sockets(os.getpid())
    with process_group(ALONE, CPU) as ranks:
        assert (ranks.rank, ranks.size) == (0, 1)
        opened = [name for name in listening_sockets(os.getpid()) if name not in before]
        assert opened
        assert all(name.startswith("tcp 0100007F:") for name in opened)
    assert [os.environ[name] for name in INTERFACES] == ["lo", "lo"]


@pytest.mark.parametrize("size", [1, 2])
def test_what_the_user_says_of_interfaces_stays(monkeypatch, size):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo,")
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr("jobs.driver.process_group.GroupRanks", lambda _: ONE_PROCESS)
    with process_group(Launch(**{**vars(ALONE), "size": size}), CPU):
        assert os.environ["GLOO_SOCKET_IFNAME"] == "lo,"
        # Where other machines take part, nothing is said.
        assert ("NCCL_SOCKET_IFNAME" in os.environ) == (size == 1)


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_the_group_ends_whatever_happens(error):
    with pytest.raises(error) if error else nullcontext(), process_group(ALONE, CPU):
        assert dist.is_initialized()
        if error:
            raise error
    assert not dist.is_initialized()


def test_who_finds_nobody_is_told_in_one_line(monkeypatch):
    def fail(*_, **__):
        raise dist.DistStoreError("Timed out after 7201 seconds waiting for clients.\nAnd a trace")

    monkeypatch.setattr(dist, "init_process_group", fail)
    with (
        pytest.raises(
            EnvironmentMismatchError, match=r"each other at host\.example:1: Timed out .* clients\.$"
        ),
        process_group(ALONE, CPU),
    ):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch):
    taken = []
    monkeypatch.setattr("model.engine.gpus._taken", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    take_device(None, "auto")
    take_device(Launch(**{**vars(ALONE), "local_size": 4, "local_rank": 3}), "auto")
    assert taken == [3]
    with pytest.raises(EnvironmentMismatchError, match=r"5 processes on a machine of 4 GPUs; .* 4$"):
        take_device(Launch(**{**vars(ALONE), "local_size": 5}), "auto")


def test_where_there_are_no_gpus_none_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: pytest.fail("taken"))
    take_device(ALONE, "auto")


def test_where_a_cpu_is_asked_for_no_gpu_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: pytest.fail("taken"))
    take_device(ALONE, "cpu")


def test_how_many_compute(monkeypatch):
    assert describe_processes(None) == ""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert describe_processes(Launch(**{**vars(ALONE), "size": 2})) == ", 2 processes of 1 thread"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert describe_processes(ALONE) == ", 1 process of 8 threads"
