"""A cleanup that dies at any step, and the one after it: nothing is lost, nothing comes twice."""

import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import date
from typing import Any, ClassVar

import pytest
from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import create_engine, event, text

from autoindex.storage.retention.archive import MonthArchive

PROGRAM = """
import sys
from datetime import date
from sqlalchemy import create_engine, event
from autoindex.storage.retention.deletion import clean

engine = create_engine(sys.argv[1])

def step(*_):
    print("step", flush=True)
    sys.stdin.readline()

event.listen(engine, "after_cursor_execute", step)
clean(engine, types=["prices", "news", "logs"], older_than=date(2020, 12, 15),
      archive_url=sys.argv[2], dry_run=False, batch_rows=10, pause_seconds=0)
print("done", flush=True)
"""


class Killed(Exception):
    """What no code expects."""


class Steps:
    """Counts the steps of a cleanup and ends it at one of them."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.taken = 0

    def take(self, *_: object) -> None:
        self.taken += 1
        if self.taken == self.last:
            raise Killed


class Dying(LocalFileSystem):
    """A local folder whose every operation is a step."""

    protocol = ("dying",)
    steps: ClassVar[Steps]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return LocalFileSystem._strip_protocol(path.removeprefix("dying://"))

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        opened = super().open(path, mode, **kwargs)
        try:
            self.steps.take()
        except Killed:
            opened.close()  # which leaves an empty file, as a killed process may
            raise
        return opened

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.steps.take()
        super().mv(path1, path2, **kwargs)
        self.steps.take()

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        super().makedirs(path, exist_ok)
        self.steps.take()


def clean_until(scene: Any, last: int | None, **changed: Any) -> int:
    """Run a cleanup that dies at step `last`; the steps it took."""
    engine = create_engine(scene.engine.url)
    steps = Dying.steps = Steps(last)
    event.listen(engine, "after_cursor_execute", steps.take)
    event.listen(engine, "commit", steps.take)
    with suppress(Killed):
        type(scene)(engine, scene.folder).clean(archive_url=f"dying://{scene.folder}", **changed)
    engine.dispose()  # as the end of the process would, and with it the advisory lock
    return steps.taken


def check_nothing_lost(scene: Any, before: dict[str, list[Any]]) -> None:
    """Every row is in its table or in a verified archive, and in the archive at most once."""
    for name in before:
        for path in scene.folder.glob(f"{name}/*/*.parquet"):
            month = date.fromisoformat(f"{path.parent.name}-01")
            MonthArchive(scene.archive_url, name, month).verify()
    after, moved = scene.stored(), scene.archived()
    for name, rows in before.items():
        assert set(after[name]) | set(moved[name]) == set(rows)
        assert max(Counter(moved[name]).values(), default=1) == 1


def start_again(scene: Any, days: int = 45) -> dict[str, list[Any]]:
    with scene.engine.begin() as connection:
        connection.execute(text("truncate prices, news_articles, task_results"))
        connection.execute(text("update assets set prices_kept_from = null"))
    for path in scene.folder.rglob("*"):
        if path.is_file() or path.is_symlink():
            path.unlink()
    scene.fill(days)
    before: dict[str, list[Any]] = scene.stored()
    return before


@pytest.mark.parametrize(("kind", "stride"), [("prices", 1), ("news", 4), ("logs", 4)])
def test_killed_at_every_step(scene: Any, kind: str, stride: int) -> None:
    """Two months, the first of which the archive holds in part already."""
    register_implementation("dying", Dying, clobber=True)
    earlier = {"types": [kind], "older_than": date(2020, 1, 20)}
    chosen = {"types": [kind], "older_than": date(2020, 2, 6)}
    start_again(scene)
    scene.clean(**earlier)
    steps = clean_until(scene, None, **chosen)
    assert steps > 40
    for step in range(1, steps + 1, stride):
        before = start_again(scene)
        scene.clean(**earlier)
        assert clean_until(scene, step, **chosen) >= step
        check_nothing_lost(scene, before)
        scene.clean(**chosen)
        check_nothing_lost(scene, before)
        after, moved = scene.stored(), scene.archived()
        assert all(len(after[name]) + len(moved[name]) == len(before[name]) for name in before)


def test_killed_for_real_again_and_again(scene: Any) -> None:
    before = start_again(scene, days=70)
    chance, kills = random.Random(6), 0
    while kill_after(scene, steps=chance.randrange(5, 30), delay=chance.uniform(0, 0.01)):
        kills += 1
        check_nothing_lost(scene, before)
    assert kills >= 3
    check_nothing_lost(scene, before)
    after, moved = scene.stored(), scene.archived()
    assert [len(moved[name]) for name in before] == [140, 70, 70]
    assert not any(after.values())


def kill_after(scene: Any, steps: int, delay: float) -> bool:
    """Start a cleanup in a process of its own, kill it; whether it was still at work.

    It may take so many steps and no more, however fast the machine is.
    """
    url = scene.engine.url.render_as_string(hide_password=False)
    program = [sys.executable, "-c", PROGRAM, url, scene.archive_url]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, bufsize=0) as process:
        process.stdin.write(b"\n" * steps)
        said = [process.stdout.readline() for _ in range(steps)]
        if b"done\n" not in said:
            time.sleep(delay)
            process.kill()
            return True
    assert process.returncode == 0
    return False
