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
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from flows.attempts.worker_env import LEASE_TOKEN, MEMORY_LIMIT
from worker.parent_death import block_sigterm, set_parent_death_signal
from worker.run_spec import RUN_SPEC, RunSpec

SOFT_LIMIT_SIGNAL: Final = signal.SIGUSR1
STOP_SIGNAL: Final = signal.SIGUSR2
LEASE_LOST: Final = 75
"""Exit status of a run whose lease another worker has taken."""

_MB: Final = 1 << 20
# The supervisor checks the run's own pages ten times a second. A process that allocates faster
# meets this limit, which also counts what is only reserved.
_RESERVED_FACTOR: Final = 2


def run(spec: RunSpec) -> int:
    """Execute a run spec; the exit status. No exception leaves this function."""
    os.environ.update(_environment(spec))
    _limit_memory(spec)
    try:
        from worker import engine  # noqa: PLC0415 - may fail with another Prefect
    except (ImportError, AttributeError):
        return _run_with_prefect(spec)
    try:
        _handle_signals(spec)
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
    """Wait until Prefect's logs and events are sent: a fork ends without its exit handlers."""
    threading._shutdown()  # type: ignore[attr-defined]
    for log in (sys.stdout, sys.stderr):
        with suppress(OSError):  # its disk is full
            log.flush()


class _Lease:
    """The run's lease, checked before each state that the run proposes."""

    def __init__(self, spec: RunSpec) -> None:
        from autoindex.settings import Settings  # noqa: PLC0415
        from autoindex.storage.postgres import engines  # noqa: PLC0415

        self._spec = spec
        self._engine = engines.run_engine(Settings(), spec.task_id)

    def check(self) -> None:
        """End the process if the lease is lost; wait while the database is unavailable."""
        from autoindex.errors import LeaseLost  # noqa: PLC0415
        from autoindex.storage.postgres import transient  # noqa: PLC0415
        from autoindex.storage.runs import fence  # noqa: PLC0415

        task_id, token = self._spec.task_id, self._spec.token
        assert token is not None  # noqa: S101
        try:
            transient.until_available(self._engine, fence.check, task_id, token, seconds=math.inf)
        except LeaseLost as lost:
            with suppress(OSError):  # the disk of its log is full
                print(lost, file=sys.stderr, flush=True)
            os._exit(LEASE_LOST)


def _environment(spec: RunSpec) -> dict[str, str]:
    variables = {
        LEASE_TOKEN: spec.token,
        MEMORY_LIMIT: spec.memory_limit_mb,
    }
    ours = {name: str(value) for name, value in variables.items() if value is not None}
    return spec.env | ours | {"PREFECT__FLOW_RUN_ID": str(spec.task_id)}


def _limit_memory(spec: RunSpec) -> None:
    if spec.memory_limit_mb is None:
        return
    status = Path("/proc/self/status").read_text()
    # A fork inherits what its parent has reserved.
    (inherited,) = [int(line.split()[1]) for line in status.splitlines() if "VmData" in line]
    limit = inherited * 1024 + _RESERVED_FACTOR * spec.memory_limit_mb * _MB
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _handle_signals(spec: RunSpec) -> None:
    from flows.attempts import time_limit  # noqa: PLC0415
    from worker import engine  # noqa: PLC0415

    def soft_limit(_signum: int, _frame: FrameType | None) -> None:
        time_limit.reach(f"soft time limit of {spec.soft_time_limit_seconds:g} s reached")

    def stop(signum: int, _frame: FrameType | None) -> None:
        engine.stop(signum)

    signal.signal(SOFT_LIMIT_SIGNAL, soft_limit)
    signal.signal(STOP_SIGNAL, stop)


def _run_with_prefect(spec: RunSpec) -> int:
    """Run with Prefect's own engine: without soft time limit, fence and hooks."""
    if spec.purpose == "hooks":
        return 0
    signal.signal(SOFT_LIMIT_SIGNAL, signal.SIG_IGN)
    try:
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def main() -> None:
    """Execute the run spec in the environment."""
    set_parent_death_signal(signal.SIGKILL)
    block_sigterm()
    spec = RunSpec.model_validate_json(os.environ.pop(RUN_SPEC))
    sys.argv = sys.argv[:1]
    sys.exit(run(spec))


if __name__ == "__main__":
    main()
