"""`python -m deployments.engine`: one flow run, in a process that does not outlive its worker.

Prefect's own engine, started directly: no pull step and no second interpreter before it. When a
worker is killed, its runs must not go on unseen, so the kernel ends this process with it.
"""

import os
import runpy
import signal
import sys

from deployments.child import ask_to_die_with_parent

WORKER_PID = "AUTOINDEX_WORKER_PID"


def main() -> None:
    """Run the flow run named by `PREFECT__FLOW_RUN_ID`."""
    ask_to_die_with_parent(signal.SIGKILL)
    worker = os.environ.get(WORKER_PID)
    if worker is not None and os.getppid() != int(worker):
        sys.exit("the worker that started this run is gone")
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
