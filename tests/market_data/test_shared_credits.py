"""One budget for several worker processes: against the ledger alone, and against a real sandbox."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from autoindex.storage import credits as ledger
from autoindex.storage.credits import Plan
from tests.bounds import HANG_SECONDS
from tests.market_data.stage import Switches, until_early_in_a_minute

PLAN = Plan(per_minute=40, per_day=150)
# Two minutes before midnight; half a second passes with whatever one of them begins.
START = datetime(2026, 3, 2, 23, 58, tzinfo=UTC)
WORKERS = 4

# Reserves, waits as long as a call takes, corrects; says what was counted when.
HAMMER = """
import json, sys
from datetime import datetime, timedelta
from random import Random
from sqlalchemy import create_engine, text
from autoindex.storage import credits as ledger
from autoindex.storage.credits import Plan

url, seed, start, plan = sys.argv[1], int(sys.argv[2]), sys.argv[3], Plan(*json.loads(sys.argv[4]))
random, engine, counted = Random(seed), create_engine(url), []
engine.connect().close()
print("ready", flush=True)
sys.stdin.readline()

def clock(ticks):
    with engine.connect() as connection:
        passed = connection.execute(text(ticks)).scalar_one() / 2
    return datetime.fromisoformat(start) + timedelta(seconds=passed)

end = datetime.fromisoformat(start) + timedelta(minutes=3)
while (at := clock("select nextval('ticks')")) < end:
    with engine.begin() as connection:
        booked = ledger.reserve(connection, random.randint(1, 9), plan, at, at_least=1)
    if not booked.granted:
        continue
    spent = random.randint(0, booked.granted)
    # The provider counts the call when it arrives, up to two seconds after it was reserved.
    counted.append([(at + timedelta(seconds=random.random() * 1.9)).isoformat(), spent])
    with engine.begin() as connection:
        ledger.correct(connection, booked, spent, max(at, clock("select last_value from ticks")))
print(json.dumps(counted))
"""


def workers(source: str, *arguments: str) -> list[subprocess.Popen[str]]:
    words = [sys.executable, "-W", "ignore", "-c", source]
    return [
        subprocess.Popen(
            [*words, arguments[0], str(seed), *arguments[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(WORKERS)
    ]


def start_together(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Tell all to begin when they are ready; what each of them says in the end."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    until_early_in_a_minute()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=HANG_SECONDS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * WORKERS
    return told


def test_four_processes_never_exceed_a_minute_or_a_day(database_url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("create sequence ticks"))
    plan = json.dumps([PLAN.per_minute, PLAN.per_day])
    processes = workers(HAMMER, database_url, START.isoformat(), plan)
    told = start_together(processes)
    minutes: Counter[str] = Counter()
    days: Counter[str] = Counter()
    for at, spent in (entry for one in told for entry in json.loads(one)):
        minutes[at[:16]] += spent
        days[at[:10]] += spent
    assert max(minutes.values()) <= PLAN.per_minute
    assert max(days.values()) <= PLAN.per_day
    # Not by spending nothing: both days, and most of what there was.
    assert len(days) == 2
    assert sum(minutes.values()) > 80


# What a refresh does with its batches, until the minute has no more.
FETCHER = """
import sys
from datetime import UTC, date, datetime
from pydantic import SecretStr
from sqlalchemy import create_engine
from autoindex.market_data import fetch_plan
from autoindex.market_data.client import TwelveData
from autoindex.storage import credits as ledger
from autoindex.storage.credits import Plan
from tests.market_data.stage import Asset

url, seed, sandbox = sys.argv[1], int(sys.argv[2]), sys.argv[3]
engine, limits = create_engine(url), Plan(30, None)
names = ["AAPL", "AMD", "MSFT", "PEP"][seed:] + ["AAPL", "AMD", "MSFT", "PEP"][:seed]
due = fetch_plan.due_symbols([Asset(n) for n in names], dict.fromkeys(names, date(2022, 12, 27)),
                       datetime(2022, 12, 28, 22, tzinfo=UTC))
(batch,) = fetch_plan.batches(due, 610)
print("ready", flush=True)
sys.stdin.readline()
minute, spent = datetime.now(UTC).minute, 0
with TwelveData(sandbox, SecretStr("shared")) as client:
    while datetime.now(UTC).minute == minute:
        with engine.begin() as connection:
            booked = ledger.reserve(connection, batch.credits, limits, datetime.now(UTC))
        now, _ = batch.split(booked.granted)
        if now is None:
            break
        reply = client.fetch(now)
        spent += reply.credits.spent
        with engine.begin() as connection:
            ledger.correct(connection, booked, reply.credits.spent, datetime.now(UTC),
                           used_this_minute=reply.credits.used)
print(spent)
"""


@pytest.mark.usefixtures("engine")
def test_four_processes_never_see_a_refusal(database_url: str, sandbox: Switches) -> None:
    sandbox.set("plan", {"per_minute": 30})
    told = start_together(workers(FETCHER, database_url, sandbox.url))
    calls = sandbox.requests()
    assert {call["status"] for call in calls} == {200}
    assert sum(map(int, told)) == sum(call["credits"] for call in calls) >= 30
    minutes: Counter[str] = Counter()
    for call in calls:
        minutes[call["at"][:16]] += call["credits"]
    assert max(minutes.values()) <= 30


def test_what_a_reservation_covers(engine: Engine) -> None:
    noon = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
    with engine.begin() as connection:
        booked = ledger.reserve(connection, 5, PLAN, noon)
        late = ledger.reserve(connection, 5, PLAN, noon + timedelta(seconds=29))
    assert ledger.covers(booked, noon + timedelta(seconds=27))
    assert not ledger.covers(booked, noon + timedelta(seconds=29))
    assert not ledger.covers(booked, noon + timedelta(minutes=1))
    assert ledger.covers(late, noon + timedelta(seconds=31))
