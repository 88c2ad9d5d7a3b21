"""`autoindex up`: the stack in the foreground."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from rich.console import Console

from autoindex.settings import Settings
from deployments.local import stack
from deployments.local.console import Progress
from deployments.local.greeting import greet
from deployments.local.stack import Stack


def run(settings: Settings, console: Console) -> None:
    """Start the stack, say where everything is, and stay until Ctrl-C or until a part ends."""
    with stopped_by_signals(), stack.running(settings, Progress(console)) as running:
        greet(running, console)
        stay(running)


def stay(running: Stack) -> None:
    """Wait for Ctrl-C; raise when a part of the stack ends by itself."""
    try:
        while True:
            running.check_alive()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that the parts are stopped in order.

    A SIGHUP that is ignored stays so: `nohup` asks for that. So does a SIGINT, which a script
    keeps from what it starts in the background.
    """

    def interrupt(_signum: int, _frame: FrameType | None) -> Never:
        raise KeyboardInterrupt

    heard = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    before = {signum: signal.signal(signum, interrupt) for signum in heard}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
