"""`autoindex up`: the stack in the foreground."""

import time

from rich.console import Console

from autoindex.settings import Settings
from deployments.local import stack
from deployments.local.console import Progress
from deployments.local.greeting import greet
from deployments.local.stack import Stack
from deployments.local.stop_signals import stopped_by_signals


def run(settings: Settings, console: Console) -> None:
    """Start the stack, print its addresses, and wait for Ctrl-C or until a part ends."""
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
