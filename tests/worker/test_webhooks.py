"""Webhooks delivered by workers, to receivers that are slow, down or killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from autoindex.settings import Settings
from autoindex.storage.audit import Author
from autoindex.storage.postgres import engines
from autoindex.storage.webhooks import endpoints, outbox
from autoindex.webhooks import signature
from autoindex.webhooks.events import Event
from tests.bounds import HANG_SECONDS
from tests.webhooks.receiver import (
    Held,
    Receiver,
    answer,
    free_port,
    is_signed,
    recorder,
)
from worker.lease_manager import LeaseManager
from worker.outages import Outages
from worker.prefect_yaml import PROJECT
from worker.webhooks import Webhooks

pytestmark = pytest.mark.anyio

SECRET = signature.new_secret()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_private_addresses": True})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().serving() as serving:
        yield serving


async def _holds() -> None:
    """No pooler is in between."""


@asynccontextmanager
async def delivering(settings: Settings, workers: int = 1) -> AsyncIterator[list[Webhooks]]:
    """The part of so many workers that delivers."""
    made, opened, tasks = [], [], []
    for _ in range(workers):
        engine = engines.async_engine(settings, "autoindex-worker", HANG_SECONDS)
        lifetime = timedelta(seconds=3 * HANG_SECONDS)
        lease_manager = LeaseManager(engine, "one", lifetime, Outages(), _holds)
        made.append(Webhooks(settings, lease_manager.call))
        opened.append(engine)
        tasks.append(asyncio.create_task(made[-1].run()))
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for engine in opened:
            await engine.dispose()


async def until(happened: Callable[[], Any]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not happened():
            await asyncio.sleep(0.05)


def hook(engine: Engine, url: str, user: str = "ann") -> UUID:
    with engine.begin() as connection:
        return endpoints.create(connection, Author(user), url, ["levels.changed"], SECRET).id


def tell(engine: Engine, count: int = 1) -> list[str]:
    at = datetime.now(UTC)
    events = [Event(f"msg_{uuid4().hex}", "levels.changed", at, {"n": n}) for n in range(count)]
    with engine.begin() as connection:
        for event in events:
            outbox.tell(connection, event)
    return [event.id for event in events]


def ask(engine: Engine, query: str) -> Any:
    with engine.begin() as connection:
        return connection.execute(text(query)).scalar_one()


def left(engine: Engine) -> int:
    found: int = ask(engine, "select count(*) from webhook_deliveries where delivered_at is null")
    return found


def attempted(engine: Engine) -> int:
    """The attempts that have ended."""
    query = "select count(*) from webhook_deliveries where outcome is not null"
    found: int = ask(engine, query)
    return found


def hurry(engine: Engine) -> None:
    """Let the time to the next attempts pass; those under way stay claimed."""
    with engine.begin() as connection:
        passed = "update webhook_deliveries set next_attempt_at = now()"
        waiting = "next_attempt_at > now() and outcome is not null"
        connection.execute(text(f"{passed} where {waiting}"))


async def test_what_is_told_arrives_signed_and_once_from_several_workers(
    settings: Settings, engine: Engine, receiver: Receiver
) -> None:
    hook(engine, receiver.url)
    async with delivering(settings, workers=3):
        told = tell(engine, 60)
        await until(lambda: left(engine) == 0)
    assert sorted(receiver.ids) == sorted(told)
    assert all(is_signed(SECRET, one.headers, one.body) for one in receiver.received)


async def test_a_receiver_that_fails_gets_it_again(
    settings: Settings, engine: Engine, receiver: Receiver
) -> None:
    receiver.script = [answer(500), answer(302, Location="/elsewhere")]
    which = hook(engine, receiver.url)
    (told,) = tell(engine)
    async with delivering(settings):
        for _ in range(2):
            await until(lambda: attempted(engine) == 1)
            assert left(engine) == 1
            hurry(engine)
            count = len(receiver.received)
            await until(lambda before=count: len(receiver.received) > before)  # type: ignore[misc]
        await until(lambda: left(engine) == 0)
    assert receiver.ids == [told] * 3
    assert len({one.body for one in receiver.received}) == 1
    with engine.begin() as connection:
        assert endpoints.find(connection, "ann", which).failing_since is None


async def test_one_that_is_gone_gets_no_more(
    settings: Settings, engine: Engine, receiver: Receiver
) -> None:
    receiver.script = [answer(410)]
    which = hook(engine, receiver.url)
    tell(engine)
    async with delivering(settings):
        await until(lambda: attempted(engine) == 1)
        hurry(engine)
        tell(engine)
        other = Receiver()
        with other.serving():  # who is told after it, so that its turn would have come
            hook(engine, other.url, "bob")
            tell(engine)
            await until(lambda: other.received)
    assert len(receiver.received) == 1
    with engine.begin() as connection:
        assert endpoints.find(connection, "ann", which).disabled_because


async def test_a_slow_receiver_delays_only_itself(
    settings: Settings, engine: Engine, receiver: Receiver
) -> None:
    held = Held()
    slow = Receiver(otherwise=held)
    with slow.serving():
        hook(engine, slow.url)
        hook(engine, receiver.url, "bob")
        async with delivering(settings):
            tell(engine, 1)
            await until(held.came.is_set)
            told = tell(engine, 50)
            await until(lambda: set(told) <= set(receiver.ids))
            assert len(slow.received) == 1
            held.go.set()
            await until(lambda: left(engine) == 0)


@contextmanager
def _worker_process(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    code = (
        "import asyncio\n"
        "from tests.worker.test_webhooks import Settings, delivering\n"
        "async def deliver():\n"
        "    async with delivering(Settings()):\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(deliver())\n"
    )
    env = os.environ | settings.environment()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_what_a_killed_worker_was_sending_is_sent_again_by_another(
    settings: Settings, engine: Engine, receiver: Receiver
) -> None:
    held = Held()
    receiver.script = [held]
    hook(engine, receiver.url)
    (told,) = tell(engine)
    with _worker_process(settings) as process:
        await until(held.came.is_set)
        process.send_signal(signal.SIGKILL)
        process.wait()
    held.go.set()
    query = "select extract(epoch from next_attempt_at - now()) from webhook_deliveries"
    assert 0 < ask(engine, query) <= 60
    with engine.begin() as connection:
        assert outbox.claim(connection, [], each=9, most=9) == []
        # A minute later.
        connection.execute(text("update webhook_deliveries set next_attempt_at = now()"))
    async with delivering(settings):
        await until(lambda: left(engine) == 0)
    assert receiver.ids == [told] * 2


def recorded(file: Path) -> list[list[str]]:
    with suppress(FileNotFoundError):
        return [line.split() for line in file.read_text().splitlines()]
    return []


async def test_a_storm_loses_nothing_and_leaves_nothing_unsigned(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    """400 events; the receiver is killed twice, and one of two workers once."""
    port, file = free_port(), tmp_path / "received"
    hook(engine, f"http://127.0.0.1:{port}/")
    told: list[str] = []
    async with delivering(settings):
        with _worker_process(settings) as worker:
            for killed in range(2):
                with recorder(port, file, SECRET):
                    told += tell(engine, 100)
                    least = 60 + 100 * killed
                    while len(recorded(file)) < least:
                        hurry(engine)
                        await asyncio.sleep(0.05)
                told += tell(engine, 100)  # nobody is there
                await until(lambda: attempted(engine) > len({one for _, one in recorded(file)}))
            worker.kill()
            worker.wait()
        with engine.begin() as connection:  # its claims expire
            connection.execute(
                text(
                    "update webhook_deliveries set next_attempt_at = now(), outcome = 'killed'"
                    " where delivered_at is null"
                )
            )
        with recorder(port, file, SECRET):
            async with asyncio.timeout(HANG_SECONDS):
                while left(engine):
                    hurry(engine)
                    await asyncio.sleep(0.05)
    got = recorded(file)
    assert {one for _, one in got} == set(told)
    assert [word for word, _ in got if word != "signed"] == []
