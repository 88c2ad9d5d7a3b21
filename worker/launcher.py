"""Starts a run's process: a fork of the zygote.

A run spec that was sent is never given to another process: one token, one process, however long
the worker or the zygote is stalled. A zygote that does not answer is ended, with all its forks.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from uuid import UUID

from prefect.settings import get_current_settings

from worker.parent_death import die_with_parent
from worker.process import Process
from worker.reaper import END, PARENT_ENDED
from worker.run_spec import RunSpec
from worker.zygote import LARGEST_MESSAGE

_log = logging.getLogger("prefect.workers.autoindex")

_ZYGOTE: Final = (sys.executable, "-m", "worker.zygote")
# Loading is all that it does: only one that hangs takes so long.
_READY_SECONDS: Final = 600
_FORK_SECONDS: Final = 30
_END_SECONDS: Final = 10.0
# A zygote that could not load the flows, as for want of memory, is replaced after this time.
_REPLACE_SECONDS: Final = 300.0
# Set before NumPy and Arrow are loaded: one BLAS thread gives the same numbers each time, and a
# process that forks must have one thread only.
_SINGLE_THREADED: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "agg",
}

R = TypeVar("R")


class LaunchError(OSError):
    """No process could be started for a run spec, and none will be."""


class Launcher:
    """Starts processes; where the zygote can't load the flows, each process loads its own."""

    def __init__(self, entrypoints: Sequence[str]) -> None:
        self._entrypoints = entrypoints
        self._zygote: _Zygote | None = None
        self._started_at = time.monotonic()
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Start the zygote, so that the first run finds it warm."""
        try:
            await self._ready()
        except OSError as error:
            _log.error("no run can be started yet: %s", error)

    async def start(self, spec: RunSpec) -> Process:
        """Start a run's process; raises `OSError` where there is none, and will be none."""
        return await (await self._ready()).fork(spec)

    async def _ready(self) -> "_Zygote":
        async with self._lock:
            if self._zygote is None or self._needs_replacing(self._zygote):
                await self.close()
                self._zygote = await _start_zygote(self._entrypoints)
                self._started_at = time.monotonic()
            return self._zygote

    def _needs_replacing(self, zygote: "_Zygote") -> bool:
        is_due = time.monotonic() - self._started_at > _REPLACE_SECONDS
        return zygote.is_gone or (is_due and zygote.is_idle and not zygote.is_warm)

    async def close(self) -> None:
        """End the zygote, and with it all that it has forked."""
        if self._zygote is not None:
            await self._zygote.close()


async def _start_zygote(entrypoints: Sequence[str]) -> "_Zygote":
    try:
        return await _Zygote.start(entrypoints)
    except OSError as error:
        _log.warning("no warm start: %s", error)
        return await _Zygote.start([])


class _Zygote:
    """The worker's end of the socket to a zygote."""

    def __init__(
        self, reaper: "subprocess.Popen[bytes]", end: socket.socket, *, is_warm: bool
    ) -> None:
        self.is_warm = is_warm
        self.is_gone = False
        self.ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reaper = reaper
        self._ending: asyncio.Task[None] | None = None
        self._socket = end
        self._starting: dict[UUID, asyncio.Future[Process]] = {}
        self._running: dict[int, Process] = {}
        end.setblocking(False)
        asyncio.get_running_loop().add_reader(end, self._receive)

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._starting and not self._running

    @classmethod
    async def start(cls, entrypoints: Sequence[str]) -> "_Zygote":
        """Start a zygote and wait until it has loaded everything."""
        began = time.monotonic()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            reaper = subprocess.Popen(
                [*_ZYGOTE, str(theirs.fileno()), *entrypoints],
                env={
                    **os.environ,
                    # As each run gets them.
                    **get_current_settings().to_environment_variables(exclude_unset=True),
                    **_SINGLE_THREADED,
                },
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=die_with_parent(PARENT_ENDED),  # noqa: PLW1509 - see there
            )
        zygote = cls(reaper, ours, is_warm=bool(entrypoints))
        try:
            pid = await _answer(zygote.ready, _READY_SECONDS)
        except LaunchError:
            await zygote.close()
            raise
        _log.info("ready after %.1f s (zygote %d)", time.monotonic() - began, pid)
        return zygote

    async def fork(self, spec: RunSpec) -> Process:
        """Fork a process for a run; raises `OSError` where there is none, and will be none."""
        if self.is_gone:
            raise LaunchError("the zygote has ended")
        started: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._starting[spec.task_id] = started
        try:
            self._socket.send(spec.model_dump_json().encode())
            return await _answer(started, _FORK_SECONDS)
        except LaunchError:
            if not started.done():
                started.cancel()
                await self.close()  # while it lives it may still start the run
            raise
        finally:
            self._starting.pop(spec.task_id, None)

    def _receive(self) -> None:
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._socket, LARGEST_MESSAGE, 1)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                self._end()
                return
            self._handle(json.loads(message), descriptors)

    def _handle(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        if "started" in message:
            process = Process(message["pid"], descriptors[0])
            self._running[process.pid] = process
            waiting = self._starting.get(UUID(message["started"]))
            if waiting is None or waiting.done():  # nobody waits for it any more
                process.send(signal.SIGKILL)
            else:
                waiting.set_result(process)
        elif "ended" in message:
            self._running.pop(message["ended"]).end(message["status"])
        elif "refused" in message:
            waiting = self._starting.get(UUID(message["refused"]))
            if waiting is not None and not waiting.done():
                waiting.set_exception(LaunchError(message["reason"]))
        elif not self.ready.done():
            self.ready.set_result(message["pid"])

    def _end(self) -> "asyncio.Task[None]":
        """Stop reading from the zygote; its forks have ended once the guard has."""
        if self._ending is None:
            self.is_gone = True
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._ending = asyncio.create_task(self._end_forks())
        return self._ending

    async def _end_forks(self) -> None:
        await asyncio.to_thread(_wait_for_end, self._reaper)
        gone = LaunchError("the zygote has ended")
        if not self.ready.done():
            self.ready.set_exception(gone)
        for waiting in self._starting.values():
            if not waiting.done():
                waiting.set_exception(gone)
        for process in self._running.values():
            process.end(-signal.SIGKILL)
        self._running.clear()

    async def close(self) -> None:
        """End the zygote, its forks and all that they have started."""
        await asyncio.shield(self._end())
        with suppress(LaunchError):
            self.ready.result()


async def _answer(answer: "asyncio.Future[R]", seconds: int) -> R:
    """What the zygote answers within so many seconds in which this process is not stalled."""
    for _ in range(seconds):
        await asyncio.wait([answer], timeout=1)
        # `wait_for` loses a result that arrives together with the time-out.
        if answer.done():
            return answer.result()
    raise LaunchError(f"the zygote did not answer within {seconds} s, and was ended")


def _wait_for_end(reaper: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        reaper.send_signal(END)
    try:
        reaper.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        reaper.kill()
        reaper.wait()
