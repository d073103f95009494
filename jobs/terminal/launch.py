"""What torchrun says of this process: which of how many it is, and which of them speaks."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from functools import cache

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
_LOOPBACK = ("localhost", "127.", "::1")
_EXIT_USAGE = 2
# In which torchrun ends the others of a process that has failed; it looks ten times a second.
_PATIENCE_SECONDS = 30.0
_CONNECT_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A process among those that torchrun started.

    Attributes:
        rank: of all, from 0. The first speaks and writes.
        size: how many there are.
        local_rank: of those on this machine, from 0.
        local_size: how many these are.
        master_address: where processes meet.
        master_port: likewise.
        attempt: how often torchrun has started them again.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    master_address: str
    master_port: int
    attempt: int

    @classmethod
    def of_environment(cls) -> Launch | None:
        """Return what stands in the environment; None where this process was started by itself."""
        numbers = [os.environ.get(name, "") for name in _NUMBERS]
        address = os.environ.get("MASTER_ADDR")
        if not address or not all(number.isdecimal() for number in numbers):
            return None
        rank, size, local_rank, local_size, port = map(int, numbers)
        return cls(
            rank=rank,
            size=size,
            local_rank=local_rank,
            local_size=local_size,
            master_address=address,
            master_port=port,
            attempt=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
        )

    @property
    def is_on_one_machine(self) -> bool:
        """Whether no other machine takes part."""
        return self.local_size == self.size or self.master_address.startswith(_LOOPBACK)


def is_silent() -> bool:
    """Return whether another process speaks for this one."""
    launch = Launch.of_environment()
    return launch is not None and launch.rank > 0


def end_unless_first_to_fail() -> None:
    """End this process, which failed, without a word if another one of its launch failed before.

    A mistake is found by all of them, or by one, and then the others miss it: it is told once.
    """
    launch = Launch.of_environment()
    if launch is None or launch.size == 1 or _is_first_to_fail(launch):
        return
    # Who ended now would have torchrun end the other before it has spoken.
    time.sleep(_PATIENCE_SECONDS)
    sys.exit(_EXIT_USAGE)


@cache
def _is_first_to_fail(launch: Launch) -> bool:
    """Ask torchrun's own store, which outlives the processes; of other launchers each one is."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from datetime import timedelta

    import torch.distributed as dist

    try:
        timeout = timedelta(seconds=_CONNECT_SECONDS)
        store = dist.TCPStore(  # type: ignore[attr-defined]
            launch.master_address, launch.master_port, is_master=False, timeout=timeout
        )
        return bool(store.add(f"fastbert-jobs/failures/{launch.attempt}", 1) == 1)
    except RuntimeError:
        # It is gone with torchrun, so nobody else is left to speak.
        return True
