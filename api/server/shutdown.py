"""When the server stops: at a signal, or when the process that started it has ended."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stop_with_parent() -> None:
    """Stop, as one of several processes, when the one that started them has ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def on_stop_signal(call: Callable[[], None]) -> Iterator[None]:
    """Call once at the signal to stop; its other handlers still run.

    uvicorn runs the lifespan's end only when all connections have closed, and those that wait for a
    task to change would not close by themselves.
    """
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # in a test; no signals arrive here
        yield
        return
    loop = asyncio.get_running_loop()
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        if callable(handlers[number]):
            handlers[number](number, frame)

    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
