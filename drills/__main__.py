"""`python -m drills [NAME ...]`: run the drills of these names, or all of them."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drills import checkpoints, damage, inputs, interrupts, kills, names, processes, scale, storage
from drills.home import Home
from drills.report import Report

DRILLS: dict[str, Callable[[Home, Path], Report]] = {
    "writes": kills.drill_writes,
    "weights": partial(kills.drill_weights, num_trials=10),
    "moments": partial(kills.drill_moments, num_moments=50),
    "interrupts": partial(interrupts.drill_interrupts, num_moments=25),
    "workers": processes.drill_killed_workers,
    "sockets": processes.drill_sockets,
    "full-disk": storage.drill_full_disk,
    "read-only": storage.drill_read_only,
    "input": inputs.drill_changing_input,
    "outputs": damage.drill_outputs,
    "readers": damage.drill_readers,
    "checkpoints": checkpoints.drill_checkpoints,
    "names": names.drill_names,
    "rows": scale.drill_many_rows,
    "files": scale.drill_many_files,
    "plan": scale.drill_many_items,
}


# What `make test` runs of them: no worker processes, each of which takes seconds to import what it needs.
QUICK: dict[str, Callable[[Home, Path], Report]] = {
    "writes": partial(kills.drill_writes, names=("distill", "score", "finetune"), every=12),
    "sockets": partial(processes.drill_sockets, names=("score",)),
    "interrupts": partial(interrupts.drill_interrupts, num_moments=2, num_workers=(1,)),
}


def main() -> None:
    """Run what is named, and exit with 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DRILLS))
    parser.add_argument("--quick", action="store_true", help="a few of the kills, and sockets")
    args = parser.parse_args()
    drills = QUICK if args.quick else DRILLS
    chosen = args.names or list(drills)
    if unknown := set(chosen) - set(drills):
        parser.error(f"there is no drill {', '.join(sorted(unknown))}")
    is_whole = True
    with tempfile.TemporaryDirectory() as directory:
        home_path = Path(directory) / "home"
        home_path.mkdir()
        home = Home.make(home_path)
        for name in chosen:
            scratch = Path(directory) / name
            scratch.mkdir()
            started = time.monotonic()
            report = drills[name](home, scratch)
            is_whole &= not report.broken
            print(f"{report}\n  {time.monotonic() - started:,.0f} s", flush=True)  # noqa: T201 - its output
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
