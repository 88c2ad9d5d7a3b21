"""What Prefect and we store for a run: a real stack, so many runs, the databases before and after.

    python -m benchmarks.runs [--runs 500]

The runs are mixed as the schedules mix them: of a hundred, 95 smart refreshes of a universe that is
up to date, three full ones, and two reports. They go through the facade, three at a time.
"""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from sqlalchemy import Engine, create_engine, make_url, text

from autoindex.settings import Settings
from benchmarks.ports import free_ports
from benchmarks.table import say
from deployments.commands import universe_command
from deployments.local import stack
from deployments.local.console import Progress
from deployments.local.demo import App
from deployments.local.stack import Stack

RUNS: Final = 500
# Prefect keeps events for 7 days, everything else about a run for 90.
EVENTS: Final = frozenset({"events", "event_resources"})
RUNS_A_DAY: Final = 24 + 5 / 7 + 1 / 7 + 1 / 30
_EVERY: Final = 50
_AT_ONCE: Final = 3

Sizes = dict[str, int]


def bodies(count: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What to ask the facade for, in order."""
    for number in range(count):
        if number % 33 == 20:
            yield "refresh", {"mode": "full"}
        elif number % 50 == 40:
            yield "generate-report", {"report_type": "weekly", "format": "pdf"}
        else:
            yield "refresh", {"mode": "smart"}


class Databases:
    """The server's two databases."""

    def __init__(self, settings: Settings) -> None:
        ours = make_url(settings.database())
        self._engines = {
            "autoindex": create_engine(ours),
            "prefect": create_engine(ours.set(database="prefect")),
        }

    def sizes(self, name: str) -> Sizes:
        """Bytes of every table with its indexes, after a VACUUM."""
        return _sizes(self._engines[name])

    def dispose(self) -> None:
        """Disconnect."""
        for engine in self._engines.values():
            engine.dispose()


def _sizes(engine: Engine) -> Sizes:
    query = """select relname, pg_total_relation_size(oid) from pg_class
        where relkind = 'r' and relnamespace = 'public'::regnamespace"""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum (analyze)"))
        return {str(name): int(size) for name, size in connection.execute(text(query))}


@contextmanager
def running() -> Iterator[Stack]:
    """A stack of the benchmark's own, with the sandbox's prices in it."""
    api, prefect, sandbox = free_ports(3)
    with TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder).resolve(),
            api_port=api,
            prefect_port=prefect,
            sandbox_port=sandbox,
            tasks_per_minute=1_000_000,
            requests_per_minute=1_000_000,
        )
        progress = Progress(Console())
        with stack.running(settings, progress) as made:
            universe_command.import_sandbox(made.settings)
            app = App(made)
            with progress.step("Warm up") as step:
                app.follow(app.start("refresh", {"mode": "full"}), step)
            yield made


def measure(made: Stack, runs: int) -> None:
    """Run, and say every fifty runs what is stored, then what a run takes."""
    databases = Databases(made.settings)
    app, progress = App(made), Progress(Console())
    before = {name: databases.sizes(name) for name in ("prefect", "autoindex")}
    began = time.monotonic()
    waiting: deque[str] = deque()
    for number, (path, body) in enumerate(bodies(runs), start=1):
        waiting.append(app.start(path, body))
        if len(waiting) == _AT_ONCE or number == runs:
            with progress.step(f"{number} asked for") as step:
                while len(waiting) >= (_AT_ONCE if number < runs else 1):
                    app.follow(waiting.popleft(), step)
        if number % _EVERY == 0:
            grown = _grown(before["prefect"], databases.sizes("prefect"))
            say(f"{number} runs: {sum(grown.values()) / 1e6:.2f} MB more in Prefect's database")
    # What events there are is written a little later.
    time.sleep(10)
    say(f"{runs} runs in {time.monotonic() - began:.0f} s")
    for name, old in before.items():
        _show(name, _grown(old, databases.sizes(name)), runs)
    databases.dispose()


def _grown(before: Sizes, after: Sizes) -> Sizes:
    return {name: size - before.get(name, 0) for name, size in after.items()}


def _show(name: str, grown: Sizes, runs: int) -> None:
    say(f"\n{name}: bytes a run")
    for table, size in sorted(grown.items(), key=lambda item: -item[1]):
        if size > 0:
            say(f"  {table:<32} {size / runs:>9,.0f}")
    events = sum(size for table, size in grown.items() if table in EVENTS) / runs
    others = sum(grown.values()) / runs - events
    say(f"  {'events':<32} {events:>9,.0f}\n  {'everything else':<32} {others:>9,.0f}")
    if name == "prefect":
        steady = RUNS_A_DAY * (7 * events + 90 * others)
        say(f"  in the long run: {steady / 1e6:,.0f} MB at {RUNS_A_DAY:.1f} runs a day")


def main() -> int:
    """Start a stack, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, choices=range(1, 5_001), metavar="N")
    chosen = parser.parse_args()
    with running() as made:
        measure(made, chosen.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
