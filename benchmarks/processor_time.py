"""Processor time of a stretch of work: unlike a clock's, it says as much on a busy machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from sqlalchemy import Engine, text


@contextmanager
def own() -> Iterator[list[float]]:
    """The seconds of this process that what is inside took, once it is done."""
    took: list[float] = []
    began = time.process_time()
    yield took
    took.append(time.process_time() - began)


@contextmanager
def with_server(engine: Engine) -> Iterator[list[float]]:
    """The same, and those of the embedded server, in the kernel's steps of 10 ms."""
    took: list[float] = []
    server = _server(engine)
    began = time.process_time() + _seconds(server)
    yield took
    took.append(time.process_time() + _seconds(server) - began)


def _server(engine: Engine) -> psutil.Process:
    with engine.connect() as connection:
        backend = connection.execute(text("select pg_backend_pid()")).scalar_one()
    return psutil.Process(psutil.Process(backend).ppid())


def _seconds(server: psutil.Process) -> float:
    """What a server and its processes have used, those that have ended included."""
    times = [server.cpu_times(), *(one.cpu_times() for one in server.children())]
    ended = times[0].children_user + times[0].children_system
    return float(ended + sum(one.user + one.system for one in times))
