"""The process group of the processes that torchrun started, while they train together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from jobs.terminal.launch import Launch, end_unless_first_to_fail
from model.engine.execution import Device
from model.engine.gpus import use_gpu
from model.errors import EnvironmentMismatchError
from model.training.ranks import ONE_PROCESS, GroupRanks, Ranks

# That one process waits for another: shards may lie far away. Who has ended is noticed at once.
_TIMEOUT = timedelta(hours=2)


def take_device(launch: Launch | None, device: str) -> None:
    """Make a GPU of its own this process's, where they compute on GPUs.

    Args:
        launch: None for a process that was started by itself.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        EnvironmentMismatchError: if there are fewer than processes.
    """
    if launch is None or device == Device.CPU or not torch.cuda.is_available():
        return
    if launch.local_size > (count := torch.cuda.device_count()):
        raise EnvironmentMismatchError(
            f"torchrun started {launch.local_size} processes on a machine of {count} GPUs; "
            f"give it --nproc-per-node {count}"
        )
    use_gpu(launch.local_rank)


@contextmanager
def process_group(launch: Launch | None, device: torch.device) -> Iterator[Ranks]:
    """Join the others in a context, and leave whatever happens.

    Args:
        launch: None for a process that was started by itself, which joins nobody.
        device: that this one computes on.

    Raises:
        EnvironmentMismatchError: if they do not find each other.
    """
    if launch is None:
        yield ONE_PROCESS
        return
    if launch.is_on_one_machine:
        # Else gloo listens on the address that the machine's name stands for, and nccl on its first one.
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo")
    try:
        dist.init_process_group("gloo" if device.type == "cpu" else "nccl", timeout=_TIMEOUT)
    except dist.DistError as error:
        raise EnvironmentMismatchError(
            f"the {launch.size} processes that torchrun started do not find each other at "
            f"{launch.master_address}:{launch.master_port}: {str(error).splitlines()[0]}"
        ) from error
    try:
        yield GroupRanks(device)
    except Exception:
        # Before the group ends, of which the others fail.
        end_unless_first_to_fail()
        raise
    finally:
        dist.destroy_process_group()


def describe_processes(launch: Launch | None) -> str:
    """Return how many processes and threads compute, to stand behind what they run on.

    >>> describe_processes(None)
    ''
    """
    if launch is None:
        return ""
    threads = torch.get_num_threads()
    return f", {_count(launch.size, 'process', 'es')} of {_count(threads, 'thread', 's')}"


def _count(number: int, noun: str, plural: str) -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"
