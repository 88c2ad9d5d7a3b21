"""The soft time limit, wherever it meets a run: one error, one attempt, and no connection lost."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from prefect import State, flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text

from autoindex.errors import ProviderUnavailable, SoftTimeLimit
from autoindex.settings import Settings
from autoindex.storage.postgres import binary_copy, engines, locks
from flows.attempts import time_limit
from flows.attempts.attempt import resumable
from flows.attempts.retry import retrying
from flows.attempts.worker_env import LEASE_TOKEN
from tests.relay import to_database

REASON = "soft time limit of 1 s reached"
# In which whatever has been announced has begun; where it has not, the limit is felt before it.
BEGUN_SECONDS = 0.3
LONG = 60


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a worker's run, where a transient error would make way for another attempt."""
    monkeypatch.setenv(LEASE_TOKEN, "1")
    monkeypatch.setattr(time_limit, "_limit", time_limit._Limit())
    before = signal.signal(signal.SIGUSR1, lambda *_: time_limit.reach(REASON))
    yield
    signal.signal(signal.SIGUSR1, before)


@contextmanager
def limit_after(begun: Event) -> Iterator[None]:
    """Send the supervisor's signal soon after something has begun."""

    def send() -> None:
        begun.wait()
        time.sleep(BEGUN_SECONDS)
        os.kill(os.getpid(), signal.SIGUSR1)

    sender = Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        begun.set()
        sender.join()


@pytest.fixture
def task_id() -> UUID:
    return uuid4()


@pytest.fixture
def connections(settings: Settings, task_id: UUID) -> Iterator[Engine]:
    """A run's connections."""
    made = engines.run_engine(settings, task_id)
    yield made
    made.dispose()


def execute(connections: Engine, begun: Event) -> None:
    with connections.begin() as connection:
        begun.set()
        connection.execute(text("select pg_sleep(:long)"), {"long": LONG})


def commit(connections: Engine, begun: Event) -> None:
    with connections.begin() as connection:
        for statement in (
            "create table slow (id int)",
            "create function wait() returns trigger language plpgsql"
            f" as 'begin perform pg_sleep({LONG}); return null; end'",
            "create constraint trigger at_the_end after insert on slow"
            " deferrable initially deferred for each row execute function wait()",
            "insert into slow values (1)",
        ):
            connection.execute(text(statement))
        begun.set()


def copy_in(connections: Engine, begun: Event) -> None:
    endless = np.broadcast_to(np.int64(1), 10**9)
    with connections.begin() as connection:
        connection.execute(text("create temporary table filled (n int8)"))
        begun.set()
        binary_copy.load(connection, "filled", {"n": endless})


def copy_out(connections: Engine, begun: Event) -> None:
    endless = sql.SQL("select generate_series(1, 1000000000)::int4")
    with connections.begin() as connection:
        begun.set()
        for _ in binary_copy.unload_packed(connection, endless, {}):
            pass


def wait_for_a_lock(connections: Engine, begun: Event) -> None:
    with locks.exclusive(connections, "same"):
        begun.set()
        with locks.exclusive(connections, "same"):
            pass


def wait_for_a_turn(connections: Engine, begun: Event) -> None:
    with locks.exclusive(connections, "same"):
        begun.set()
        with locks.exclusive(connections, "same", patience=LONG):
            pass


def ask_by_http(_: Engine, begun: Event) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun.set()
        httpx.get(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=LONG, trust_env=False)


def compute(_: Engine, begun: Event) -> None:
    matrix = np.ones((300, 300))
    begun.set()
    while True:
        matrix = matrix @ matrix / 300


def sleep(_: Engine, begun: Event) -> None:
    begun.set()
    time.sleep(LONG)


class _Clumsy:
    """What a signal's handler raises in its end is swallowed by Python."""

    def __init__(self, begun: Event) -> None:
        self._begun = begun

    def __del__(self) -> None:
        self._begun.set()
        time.sleep(4 * BEGUN_SECONDS)


@pytest.mark.parametrize(
    "work",
    [
        execute, commit, copy_in, copy_out, wait_for_a_lock, wait_for_a_turn, ask_by_http, compute,
        sleep,
    ],
)  # fmt: skip
def test_whatever_it_meets_it_is_one_sentence_and_leaves_no_query(
    work: Callable[[Engine, Event], None], connections: Engine, engine: Engine, task_id: UUID
) -> None:
    begun = Event()
    with limit_after(begun), pytest.raises(SoftTimeLimit) as felt:
        resumable(work)(connections, begun)
    assert str(felt.value) == REASON
    with connections.connect() as connection:
        assert connection.scalar(text("select 1")) == 1
    query = text("select count(*) from pg_stat_activity where application_name = :name"
                 " and state <> 'idle'")  # fmt: skip
    with engine.connect() as connection:
        assert connection.scalar(query, {"name": engines.run_name(task_id)}) == 0


@pytest.mark.parametrize("is_connected", [False, True], ids=["connect", "begin"])
def test_a_server_that_does_not_answer_is_not_waited_for(
    settings: Settings, task_id: UUID, is_connected: bool
) -> None:
    relay, there = to_database(settings.database())
    afar = engines.run_engine(
        settings.model_copy(update={"database_url": SecretStr(there)}), task_id
    )
    begun = Event()

    def begin() -> None:
        if is_connected:
            with afar.connect() as connection:
                connection.execute(text("select 1"))
        relay.cut()
        begun.set()
        with afar.begin():
            pass

    with relay, limit_after(begun), pytest.raises(SoftTimeLimit, match=REASON):
        resumable(begin)()
    afar.dispose()


def test_what_is_being_finished_ends_first() -> None:
    begun, steps = Event(), []

    def work() -> None:
        with time_limit.deferred():
            begun.set()
            time.sleep(4 * BEGUN_SECONDS)
            steps.append("finished")
        steps.append("never")

    with limit_after(begun), pytest.raises(SoftTimeLimit, match=REASON):
        resumable(work)()
    assert steps == ["finished"]


def test_what_leads_up_to_it_may_be_interrupted() -> None:
    begun, steps = Event(), []

    def work() -> None:
        with time_limit.deferred():
            with time_limit.interruptible():
                begun.set()
                time.sleep(LONG)
            steps.append("never")

    with limit_after(begun), pytest.raises(SoftTimeLimit, match=REASON):
        resumable(work)()
    assert steps == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_a_destructor_swallows_is_felt_by_the_next_step() -> None:
    begun = Event()

    def work() -> None:
        clumsy = _Clumsy(begun)
        del clumsy
        time_limit.enforced(time.sleep)(LONG)

    with limit_after(begun), pytest.raises(SoftTimeLimit, match=REASON):
        resumable(work)()


def test_it_is_felt_once_and_not_before_the_flow_nor_after_it() -> None:
    time_limit.reach(REASON)
    with pytest.raises(SoftTimeLimit, match=REASON):
        time_limit.enforced(time.sleep)(LONG)
    # For what is still to be said of it.
    assert time_limit.enforced(lambda: "the rest")() == "the rest"
    os.kill(os.getpid(), signal.SIGUSR1)


def test_errors_of_others_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        time_limit.enforced(lambda: 1 / 0)()


@pytest.mark.usefixtures("prefect_api")
def test_a_subtask_that_meets_it_fails_and_is_not_tried_again(
    settings: Settings, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    begun, attempts = Event(), []

    @retrying("ask")
    def ask() -> None:
        attempts.append("ask")
        made = create_engine(settings.database())
        try:
            execute(made, begun)
        except SoftTimeLimit:
            raise
        except Exception as error:  # as a client might make one of its own
            raise ProviderUnavailable("busy") from error
        finally:
            made.dispose()

    @flow(flow_run_name="limited")
    @resumable
    def limited() -> None:
        ask()

    with limit_after(begun):
        state: State[None] = limited(return_state=True)  # type: ignore[call-overload]
    assert state.name == "Failed"
    assert REASON in str(state.message)
    assert attempts == ["ask"]
    with SyncPrefectClient(prefect_api) as client:
        (subtask,) = client.read_task_runs(
            flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=["limited"]))
        )
        assert subtask.state_name == "Failed"
