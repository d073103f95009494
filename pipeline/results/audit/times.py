"""What a job took, and where the seconds went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from model.engine.stopwatch import EMBEDDINGS, branch_name, layer_name
from pipeline.contract.work_times import Phase, RunTimes, WorkTimes


@dataclass(frozen=True, kw_only=True)
class PartTime:
    """Seconds of one kind of work.

    Attributes:
        name: of it.
        seconds: summed over workers.
        share: of all that workers were at.
    """

    name: str
    seconds: float
    share: float


@dataclass(frozen=True, kw_only=True)
class LayerTime:
    """Seconds of a layer, of which the last one's are with the classifier.

    Attributes:
        layer: from 1.
        seconds: of the layer, summed over workers.
        branch_seconds: of the branch after it.
    """

    layer: int
    seconds: float
    branch_seconds: float


@dataclass(frozen=True, kw_only=True)
class JobTimes:
    """What a job took, models being loaded already.

    Attributes:
        num_runs: that came to their end; what was interrupted told nothing.
        num_rows: that these read, those that were rejected too.
        wall_seconds: from a run's first work item to its last, summed over runs.
        busy_seconds: that workers were at work items, summed over workers.
        parts: what they were at, in the order of the work. What the parts of the network took is shared out
            by their core-seconds; on a GPU it is told as a whole.
        layers: in order; none on a GPU.
    """

    num_runs: int
    num_rows: int
    wall_seconds: float
    busy_seconds: float
    parts: tuple[PartTime, ...]
    layers: tuple[LayerTime, ...]


def job_times(runs: Sequence[RunTimes], *, num_layers: int) -> JobTimes | None:
    """Return what the runs of a job took; None where none tells.

    Args:
        runs: of one job.
        num_layers: of the model.
    """
    work = reduce(add, (run.work for run in runs), WorkTimes())
    busy = work.busy_seconds
    if not busy:
        return None
    network = _network_seconds(work)
    layers = tuple(
        LayerTime(
            layer=layer,
            seconds=network.get(layer_name(layer), 0.0),
            branch_seconds=network.get(branch_name(layer), 0.0),
        )
        for layer in range(1, num_layers + 1)
    )
    seconds = {
        "reading": work.phases.get(Phase.READ, 0.0),
        "tokenizing": work.phases.get(Phase.TOKENIZE, 0.0),
        **_network_parts(work, network, layers),
        "writing": work.phases.get(Phase.WRITE, 0.0),
    }
    return JobTimes(
        num_runs=len(runs),
        num_rows=work.num_rows,
        wall_seconds=sum(run.wall_seconds for run in runs),
        busy_seconds=busy,
        parts=tuple(
            PartTime(name=name, seconds=each, share=each / busy) for name, each in seconds.items() if each
        ),
        layers=layers if network else (),
    )


def _network_seconds(work: WorkTimes) -> dict[str, float]:
    """Return what each part of the network took of its phase, by its share of the core-seconds."""
    core_seconds = sum(work.parts.values())
    phase = work.phases.get(Phase.NETWORK, 0.0)
    return {name: phase * seconds / core_seconds for name, seconds in work.parts.items() if core_seconds}


def _network_parts(
    work: WorkTimes, network: Mapping[str, float], layers: Sequence[LayerTime]
) -> dict[str, float]:
    if not network:
        return {"network": work.phases.get(Phase.NETWORK, 0.0)}
    return {
        "exit 0": network.get(branch_name(0), 0.0),
        "layers": network.get(EMBEDDINGS, 0.0) + sum(each.seconds for each in layers),
        "branches": sum(each.branch_seconds for each in layers),
    }
