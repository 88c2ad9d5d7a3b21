"""Start a run's process: forked from the zygote, or an interpreter of its own without one."""

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
from typing import Any, Final
from uuid import UUID

from prefect.settings import get_current_settings

from deployments.child import die_with_parent
from deployments.worker.order import ORDER, Order
from deployments.worker.process import Process
from deployments.worker.zygote import LARGEST_MESSAGE

_log = logging.getLogger("prefect.workers.autoindex")

_ZYGOTE: Final = (sys.executable, "-m", "deployments.worker.zygote")
_READY_SECONDS: Final = 120.0
_FORK_SECONDS: Final = 10.0
# After a zygote that could not be made: what kept it, as too little memory, may have passed.
_AGAIN_SECONDS: Final = 300.0
# Known before NumPy and Arrow are loaded: one BLAS thread gives the same numbers each time, and a
# process that is forked must have one thread only.
_SINGLE_THREADED: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "agg",
}


class Starter:
    """Starts processes; a zygote that cannot be made, or dies, costs warmth and nothing else."""

    def __init__(self, entrypoints: Sequence[str]) -> None:
        self._entrypoints = entrypoints
        self._zygote: _Zygote | None = None
        self._made_at = time.monotonic()
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Make the zygote, so that the first run finds it warm."""
        async with self._lock:
            await self._make()

    async def start(self, order: Order) -> Process:
        """Start a process for an order."""
        if (zygote := await self._warm()) is not None:
            try:
                return await zygote.fork(order)
            except _Refused as refused:
                _log.warning("started without the zygote: %s", refused)
        return await _spawn(order)

    async def _warm(self) -> "_Zygote | None":
        if self._is_to_be_made():
            async with self._lock:
                if self._is_to_be_made():
                    await self._make()
        return self._zygote

    def _is_to_be_made(self) -> bool:
        if self._zygote is not None:
            return self._zygote.is_gone
        return time.monotonic() - self._made_at > _AGAIN_SECONDS

    async def _make(self) -> None:
        self._zygote = await _made(self._entrypoints)
        self._made_at = time.monotonic()

    async def close(self) -> None:
        """End the zygote, and with it whatever it has forked."""
        if self._zygote is not None:
            await self._zygote.close()


class _Refused(Exception):
    """There is no fork to be had."""


async def _made(entrypoints: Sequence[str]) -> "_Zygote | None":
    try:
        return await _Zygote.made(entrypoints)
    except (_Refused, OSError) as error:
        _log.warning("no warm start: %s", error)
        return None


class _Zygote:
    """The worker's end of the socket to a zygote."""

    def __init__(self, process: "subprocess.Popen[bytes]", end: socket.socket) -> None:
        self.is_gone = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process = process
        self._socket = end
        self._starting: dict[UUID, asyncio.Future[Process]] = {}
        self._running: dict[int, Process] = {}
        end.setblocking(False)
        asyncio.get_running_loop().add_reader(end, self._receive)

    @classmethod
    async def made(cls, entrypoints: Sequence[str]) -> "_Zygote":
        """Start a zygote and wait until it has loaded everything."""
        began = time.monotonic()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [*_ZYGOTE, str(theirs.fileno()), *entrypoints],
                env={
                    **os.environ,
                    # As they are handed to each run.
                    **get_current_settings().to_environment_variables(exclude_unset=True),
                    **_SINGLE_THREADED,
                },
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - see there
            )
        zygote = cls(process, ours)
        try:
            await asyncio.wait_for(zygote.ready, _READY_SECONDS)
        except TimeoutError:
            await zygote.close()
            raise _Refused(f"the zygote was not ready within {_READY_SECONDS:.0f} s") from None
        _log.info("warm after %.1f s (zygote %d)", time.monotonic() - began, process.pid)
        return zygote

    async def fork(self, order: Order) -> Process:
        """A fork that carries out an order; raises `_Refused`."""
        if self.is_gone:
            raise _Refused("the zygote has ended")
        started: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._starting[order.task_id] = started
        try:
            self._socket.send(order.model_dump_json().encode())
            return await asyncio.wait_for(started, _FORK_SECONDS)
        except OSError as error:  # TimeoutError is one
            raise _Refused(f"the zygote does not answer: {error}") from error
        finally:
            self._starting.pop(order.task_id, None)

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
            if waiting is None or waiting.done():  # nobody waits any more
                process.send(signal.SIGKILL)
            else:
                waiting.set_result(process)
        elif "ended" in message:
            self._running.pop(message["ended"]).end(message["status"])
        elif "refused" in message:
            waiting = self._starting.get(UUID(message["refused"]))
            if waiting is not None and not waiting.done():
                waiting.set_exception(_Refused(message["reason"]))
        elif not self.ready.done():
            self.ready.set_result(None)

    def _end(self) -> None:
        """The zygote is gone, and the kernel has ended its forks with it."""
        if self.is_gone:
            return
        self.is_gone = True
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        # It may have only said that it ends; and what nobody waits for stays as a zombie.
        self._process.kill()
        asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        gone = _Refused("the zygote has ended")
        if not self.ready.done():
            self.ready.set_exception(gone)
        for waiting in self._starting.values():
            if not waiting.done():
                waiting.set_exception(gone)
        for process in self._running.values():
            process.end(-signal.SIGKILL)
        self._running.clear()

    async def close(self) -> None:
        """End the zygote."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._end()
        with suppress(_Refused):
            if self.ready.done():
                self.ready.result()


async def _spawn(order: Order) -> Process:
    """An interpreter of its own, which the kernel ends with the worker, too."""
    environment = {
        **os.environ,
        **_SINGLE_THREADED,
        **order.env,
        "PREFECT__FLOW_RUN_ID": str(order.task_id),
        ORDER: order.model_dump_json(exclude={"env"}),
    }
    popen = subprocess.Popen(
        [sys.executable, "-m", "deployments.worker.run"],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - see there
    )
    pidfd = os.pidfd_open(popen.pid)
    process = Process(popen.pid, pidfd)
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(pidfd)
        process.end(popen.wait())

    loop.add_reader(pidfd, ended)
    return process
