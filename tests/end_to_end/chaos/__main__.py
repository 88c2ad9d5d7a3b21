"""Kill, stop, cut off and disturb a whole stack while tasks run; then ask whether anything is lost.

    python -m tests.end_to_end.chaos [--tasks 100] [--faults 40] [--every 6] [--seed 1]
                                     [--only "PostgreSQL*"] [--list]

First the tasks run without a fault, and leave the data that they have to leave again; then they run
in a storm. At the end each task has ended once, and truthfully: what succeeded has left its rows,
its file and its mail; what failed says why. Nothing is left over.
"""

import argparse
import logging
import signal
import sys
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.table import say
from tests.end_to_end.chaos import report
from tests.end_to_end.chaos.faults import FAULTS


def main() -> int:
    """Storm a stack of its own and print what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.end_to_end.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--every", type=float, default=6.0, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease", type=float, default=15.0, help="seconds that a lease lasts")
    parser.add_argument("--only", nargs="*", default=["*"], help="names of faults, with wildcards")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument("--keep", type=Path, help="an empty folder that keeps data and logs")
    chosen = parser.parse_args()
    faults = [one for one in FAULTS if any(fnmatch(one.name, name) for name in chosen.only)]
    if chosen.list or not faults:
        say("\n".join(one.name for one in FAULTS))
        return 0 if chosen.list else 2
    logging.disable(logging.WARNING)
    # Whoever stops it wants nothing to be left.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with TemporaryDirectory(prefix="aix-") as folder:
        plan = report.Plan(
            faults=faults,
            tasks=chosen.tasks,
            strikes=chosen.faults,
            every=chosen.every,
            seed=chosen.seed,
            lease_seconds=chosen.lease,
        )
        outcome = report.storm((chosen.keep or Path(folder)).resolve(), plan, say)
    say(outcome.text)
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    sys.exit(main())
