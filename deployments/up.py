"""`autoindex up`: the stack in the foreground."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from rich.console import Console

from autoindex.settings import Settings
from deployments import stack, universe
from deployments.progress import Progress
from deployments.stack import Stack


def run(settings: Settings, console: Console) -> None:
    """Start the stack, say where everything is, and stay until Ctrl-C or until a part ends."""
    with stopped_by_signals(), stack.running(settings, Progress(console)) as running:
        if settings.sandbox:
            universe.import_sandbox(running.settings)
        _greet(running, console)
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
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that the parts are stopped in order."""

    def interrupt(_signum: int, _frame: FrameType | None) -> Never:
        raise KeyboardInterrupt

    before = {s: signal.signal(s, interrupt) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _greet(running: Stack, console: Console) -> None:
    prices = "the sandbox's sample prices" if running.settings.sandbox else "Twelve Data"
    off = [name for name, on in _optional(running.settings).items() if not on]
    console.print(
        f"\n[bold]Autoindex is up[/], with prices from {prices}.\n"
        f"  REST facade   {running.api_url}  (documentation at /docs)\n"
        f"  Prefect UI    {running.prefect_url}\n"
        f"  data, logs    {running.settings.data_dir}\n"
        f"  switched off  {', '.join(off) or 'nothing'}\n\n"
        "A token:  .venv/bin/autoindex token --user me --scope tasks:read --scope tasks:run\n"
        "Ctrl-C stops everything.",
        highlight=False,
        soft_wrap=True,  # a line broken by us could not be pasted
    )


def _optional(settings: Settings) -> dict[str, bool]:
    return {
        "mail (AUTOINDEX_SMTP_HOST)": settings.smtp_host is not None,
        "Slack (AUTOINDEX_SLACK_WEBHOOK_URL)": settings.slack_webhook_url is not None,
        "error tracking (AUTOINDEX_SENTRY_DSN)": settings.sentry_dsn is not None,
        "Redis (AUTOINDEX_REDIS_URL)": settings.redis_url is not None,
    }
