"""Where `fastbert-jobs` and `python -m jobs` begin."""

import sys
from typing import NoReturn

from jobs.terminal.interrupts import exit_on_interrupt


def run() -> NoReturn:
    """Run the command line, and exit."""
    # Before the imports, which take a moment.
    exit_on_interrupt(sys.argv[1:])
    from jobs.cli import main

    main()


if __name__ == "__main__":
    run()
