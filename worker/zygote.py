"""The warm process that runs are forked from: `python -m worker.zygote FD FLOW …`.

It imports the flows and their modules once, has one thread and does nothing else, so that it can be
forked safely. Without flows it loads nothing, and each fork becomes an interpreter of its own. It
talks to its worker over a socket (`FD`), one JSON object a message. When its worker ends, it ends,
with its forks and all that they have started: see `reaper`.

    worker: a run spec (`RunSpec`)
    zygote: {"ready": seconds, "pid": …}          once, when all is loaded
            {"started": task id, "pid": …}        with a pidfd of the fork attached
            {"refused": task id, "reason": …}     the system has no more processes
            {"ended": pid, "status": …}           as in subprocess: negative for a signal
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Never
from uuid import UUID

from worker.parent_death import block_sigterm, set_parent_death_signal
from worker.reaper import adopt_orphans, fork_under_guard, kill_orphans
from worker.run_spec import RUN_SPEC, RunSpec

LARGEST_MESSAGE: Final = 1 << 17

# A run would import these after the fork: see the test that compares `sys.modules` before and
# after a run.
_LATE: Final = (
    "anyio._backends._asyncio",
    "encodings.idna",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "graphviz",
    "prefect._internal.observers",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.utilities.visualization",
    "psycopg",
    "reportlab.pdfgen.canvas",
    "rich._emoji_codes",
    "sqlalchemy.dialects.postgresql.psycopg",
)


def preload(entrypoints: list[str]) -> None:
    """Import the flows and what they import later, and fill the caches that are slow to fill."""
    for name in (*_LATE, "worker.run"):
        importlib.import_module(name)
    for entrypoint in entrypoints:
        importlib.import_module(entrypoint.rpartition(".")[0])
    from autoindex import sessions  # noqa: PLC0415
    from autoindex.settings import Settings  # noqa: PLC0415
    from worker import engine  # noqa: PLC0415

    engine.certificates()
    sessions.last_closed(Settings().now())


def main() -> None:
    """Load, report that, and fork on demand until the worker is gone."""
    started_at = time.monotonic()
    block_sigterm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = socket.socket(fileno=int(sys.argv[1]))
    fork_under_guard(worker)
    adopt_orphans()
    # Whatever is loaded stays: looking for garbage meanwhile takes a tenth of the time.
    gc.disable()
    if entrypoints := sys.argv[2:]:
        preload(entrypoints)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        sys.exit(f"{threads} threads after loading the flows: a fork would not be safe")
    # These objects stay: to collect them in a fork would only copy their pages.
    gc.collect()
    gc.freeze()
    gc.enable()
    _send(worker, {"ready": round(time.monotonic() - started_at, 3), "pid": os.getpid()})
    _serve(worker, _run if entrypoints else _exec)


def _serve(worker: socket.socket, execute: Callable[[RunSpec], int]) -> None:
    selector = selectors.DefaultSelector()
    selector.register(worker, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is worker:
                message = _receive(worker)
                if not message:  # the worker is gone
                    return
                spec = RunSpec.model_validate_json(message)
                _fork(worker, selector, partial(execute, spec), spec.task_id)
            else:
                selector.unregister(key.fileobj)
                _, status = os.waitpid(key.data, 0)
                os.close(key.fd)
                kill_orphans({run.data for run in selector.get_map().values()})
                _send(worker, {"ended": key.data, "status": os.waitstatus_to_exitcode(status)})


def _fork(
    worker: socket.socket,
    selector: selectors.BaseSelector,
    execute: Callable[[], int],
    task_id: UUID,
) -> None:
    zygote = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        _send(worker, {"refused": str(task_id), "reason": str(error)})
        return
    if pid == 0:
        _become_run(zygote, worker, selector, execute)
    pidfd = os.pidfd_open(pid)
    message = json.dumps({"started": str(task_id), "pid": pid}).encode()
    socket.send_fds(worker, [message], [pidfd])
    selector.register(pidfd, selectors.EVENT_READ, pid)


def _become_run(
    zygote: int,
    worker: socket.socket,
    selector: selectors.BaseSelector,
    execute: Callable[[], int],
) -> Never:
    status = 1
    try:
        os.setsid()
        adopt_orphans()
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != zygote:
            os._exit(1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for key in list(selector.get_map().values()):
            if key.fileobj is not worker:
                os.close(key.fd)
        selector.close()
        worker.close()
        status = execute()
    except BaseException:  # noqa: BLE001 - a fork must never return into the zygote's loop
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(status)


def _run(spec: RunSpec) -> int:
    from worker import run  # noqa: PLC0415 - loaded by `preload`

    _reseed()
    status = run.run(spec)
    run.flush()
    return status


def _exec(spec: RunSpec) -> Never:
    """Become an interpreter of its own, which loads the flow itself."""
    command = [sys.executable, "-m", "worker.run"]
    environment = {
        **os.environ,
        **spec.env,
        "PREFECT__FLOW_RUN_ID": str(spec.task_id),
        RUN_SPEC: spec.model_dump_json(exclude={"env"}),
    }
    os.execve(command[0], command, environment)  # noqa: S606 - no shell


def _reseed() -> None:
    """Give each run random numbers of its own, or all runs would wait equally long for a retry."""
    import random  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    random.seed()
    np.random.seed()


def _receive(worker: socket.socket) -> bytes:
    try:
        return worker.recv(LARGEST_MESSAGE)
    except ConnectionResetError:
        return b""


def _send(worker: socket.socket, message: dict[str, Any]) -> None:
    try:
        worker.send(json.dumps(message).encode())
    except BrokenPipeError:
        sys.exit("the worker is gone")


if __name__ == "__main__":
    main()
