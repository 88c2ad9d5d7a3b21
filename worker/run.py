"""A run's process, from start to end.

It is a fork of the zygote or, where there is none, an interpreter of its own
(`python -m worker.run`).
"""

import math
import os
import resource
import runpy
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Final

from flows.attempts.worker_env import LEASE_TOKEN, MEMORY_LIMIT
from worker.parent_death import ask_to_die_with_parent, leave_stopping_to_parent
from worker.run_spec import RUN_SPEC, RunSpec

SOFT_LIMIT_SIGNAL: Final = signal.SIGUSR1
STOP_SIGNAL: Final = signal.SIGUSR2
LEASE_LOST: Final = 75
"""Exit status of a run whose lease another worker has."""

_MB: Final = 1 << 20
# The supervisor's limit is on the run's own pages, looked at ten times a second. What a process
# asks for faster than that meets this one, which also counts what it only reserves.
_RESERVED: Final = 2


def run(spec: RunSpec) -> int:
    """Carry out a run spec; the exit status. Nothing it raises leaves this function."""
    os.environ.update(_environment(spec))
    _limit_memory(spec)
    try:
        from worker import engine  # noqa: PLC0415 - may fail with another Prefect
    except (ImportError, AttributeError):
        return _prefects_own_way(spec)
    try:
        _obey_signals(spec)
        if spec.token is not None:
            engine.watch_states(_Lease(spec).check)
        if spec.purpose == "hooks":
            engine.call_failure_hooks(spec)
        else:
            engine.run(spec)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the outermost edge of the process
        from autoindex.masking import masked  # noqa: PLC0415

        print(masked(traceback.format_exc()), file=sys.stderr)
        return 1
    return 0


def flush() -> None:
    """Wait for Prefect's logs and events to be sent, which a fork's end would cut off."""
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    sys.stderr.flush()


class _Lease:
    """The run's lease, asked for before each state the run proposes."""

    def __init__(self, spec: RunSpec) -> None:
        from autoindex.settings import Settings  # noqa: PLC0415
        from autoindex.storage.postgres import engines  # noqa: PLC0415

        self._spec = spec
        self._engine = engines.run_engine(Settings(), spec.task_id)

    def check(self) -> None:
        """End the process where the lease is lost; wait while the database is unavailable."""
        from autoindex.errors import LeaseLost  # noqa: PLC0415
        from autoindex.storage.postgres import transient  # noqa: PLC0415
        from autoindex.storage.runs import fence  # noqa: PLC0415

        task_id, token = self._spec.task_id, self._spec.token
        assert token is not None  # noqa: S101
        try:
            transient.until_available(self._engine, fence.check, task_id, token, seconds=math.inf)
        except LeaseLost as lost:
            print(lost, file=sys.stderr, flush=True)
            os._exit(LEASE_LOST)


def _environment(spec: RunSpec) -> dict[str, str]:
    chosen = {
        LEASE_TOKEN: spec.token,
        MEMORY_LIMIT: spec.memory_limit_mb,
    }
    ours = {name: str(value) for name, value in chosen.items() if value is not None}
    return spec.env | ours | {"PREFECT__FLOW_RUN_ID": str(spec.task_id)}


def _limit_memory(spec: RunSpec) -> None:
    if spec.memory_limit_mb is None:
        return
    status = Path("/proc/self/status").read_text()
    # A fork begins with what its parent had reserved.
    (inherited,) = [int(line.split()[1]) for line in status.splitlines() if "VmData" in line]
    most = inherited * 1024 + _RESERVED * spec.memory_limit_mb * _MB
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _obey_signals(spec: RunSpec) -> None:
    from flows.attempts import time_limit  # noqa: PLC0415
    from worker import engine  # noqa: PLC0415

    def soft_limit(_signum: int, _frame: FrameType | None) -> None:
        time_limit.reach(f"soft time limit of {spec.soft_time_limit_seconds:g} s reached")

    def stop(signum: int, _frame: FrameType | None) -> None:
        engine.stop(signum)

    signal.signal(SOFT_LIMIT_SIGNAL, soft_limit)
    signal.signal(STOP_SIGNAL, stop)


def _prefects_own_way(spec: RunSpec) -> int:
    """Prefect's own engine: without soft limit, fence and hooks, but the run is run."""
    if spec.purpose == "hooks":
        return 0
    signal.signal(SOFT_LIMIT_SIGNAL, signal.SIG_IGN)
    try:
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def main() -> None:
    """Carry out the run spec that is in the environment."""
    ask_to_die_with_parent(signal.SIGKILL)
    leave_stopping_to_parent()
    spec = RunSpec.model_validate_json(os.environ.pop(RUN_SPEC))
    sys.argv = sys.argv[:1]
    sys.exit(run(spec))


if __name__ == "__main__":
    main()
