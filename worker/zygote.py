"""The warm process that runs are forked from: `python -m worker.zygote FD FLOW …`.

It imports the flows and all they need once, has one thread and does nothing else, so that a fork of
it is sound. Told of no flows it loads nothing, and each fork becomes an interpreter of its own. It
speaks with its worker over a socket (`FD`), one JSON object a message. It ends with its worker, its
forks with it, and with them whatever they have started: see `reaper`.

    worker: a run spec (`RunSpec`)
    zygote: {"ready": seconds, "pid": …}          once, when everything is loaded
            {"started": task id, "pid": …}        with a pidfd of the fork attached
            {"refused": task id, "reason": …}     the system gives no more processes
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

from worker.parent_death import ask_to_die_with_parent, leave_stopping_to_parent
from worker.reaper import adopt_orphans, end_orphans, stand_guard
from worker.run_spec import RUN_SPEC, RunSpec

LARGEST_MESSAGE: Final = 1 << 17

# Imported by a run for the first time otherwise, after the fork: see the test that compares
# `sys.modules` before and after a run.
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
    "scipy.optimize",
    "sqlalchemy.dialects.postgresql.psycopg",
)


def preload(entrypoints: list[str]) -> None:
    """Import the flows and what they reach for later, and make what costs time to make."""
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
    """Load, say so, and fork on demand until the worker is gone."""
    began = time.monotonic()
    leave_stopping_to_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = socket.socket(fileno=int(sys.argv[1]))
    stand_guard(worker)
    adopt_orphans()
    if entrypoints := sys.argv[2:]:
        preload(entrypoints)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        sys.exit(f"{threads} threads after loading the flows: a fork would not be sound")
    # What is here now stays: collecting it in a fork would only copy its pages.
    gc.collect()
    gc.freeze()
    _send(worker, {"ready": round(time.monotonic() - began, 3), "pid": os.getpid()})
    _serve(worker, _run if entrypoints else _execute)


def _serve(worker: socket.socket, carry_out: Callable[[RunSpec], int]) -> None:
    selector = selectors.DefaultSelector()
    selector.register(worker, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is worker:
                message = _received(worker)
                if not message:  # the worker is gone
                    return
                spec = RunSpec.model_validate_json(message)
                _fork(worker, selector, partial(carry_out, spec), spec.task_id)
            else:
                selector.unregister(key.fileobj)
                _, status = os.waitpid(key.data, 0)
                os.close(key.fd)
                end_orphans({run.data for run in selector.get_map().values()})
                _send(worker, {"ended": key.data, "status": os.waitstatus_to_exitcode(status)})


def _fork(
    worker: socket.socket,
    selector: selectors.BaseSelector,
    carry_out: Callable[[], int],
    task_id: UUID,
) -> None:
    zygote = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        _send(worker, {"refused": str(task_id), "reason": str(error)})
        return
    if pid == 0:
        _become_run(zygote, worker, selector, carry_out)
    pidfd = os.pidfd_open(pid)
    message = json.dumps({"started": str(task_id), "pid": pid}).encode()
    socket.send_fds(worker, [message], [pidfd])
    selector.register(pidfd, selectors.EVENT_READ, pid)


def _become_run(
    zygote: int,
    worker: socket.socket,
    selector: selectors.BaseSelector,
    carry_out: Callable[[], int],
) -> Never:
    status = 1
    try:
        os.setsid()
        adopt_orphans()
        ask_to_die_with_parent(signal.SIGKILL)
        if os.getppid() != zygote:
            os._exit(1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for key in list(selector.get_map().values()):
            if key.fileobj is not worker:
                os.close(key.fd)
        selector.close()
        worker.close()
        status = carry_out()
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


def _execute(spec: RunSpec) -> Never:
    """Go on as an interpreter of its own, which loads what it needs itself."""
    command = [sys.executable, "-m", "worker.run"]
    environment = {
        **os.environ,
        **spec.env,
        "PREFECT__FLOW_RUN_ID": str(spec.task_id),
        RUN_SPEC: spec.model_dump_json(exclude={"env"}),
    }
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


def _reseed() -> None:
    """Give each run random numbers of its own: retries that wait alike would come back alike."""
    import random  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    random.seed()
    np.random.seed()


def _received(worker: socket.socket) -> bytes:
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
