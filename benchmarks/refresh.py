"""How long a full refresh of 500 symbols takes to fetch and parse, and whether its memory grows.

    python -m benchmarks.refresh

5,040 bars a symbol, two pages each, from the sandbox in a process of its own, over HTTP; at a
quarter and at half of the symbols too. The floor asks for the same pages, reads them and calls
`json.loads`; it makes no numbers and checks nothing. Then the flow itself, which stores the bars
and computes the index, in a process of its own whose memory is sampled from outside.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text

from autoindex.market_data import fetch_plan
from autoindex.market_data.client import TwelveData
from autoindex.market_data.fetch_plan import Batch
from autoindex.requests import Mode
from autoindex.settings import Settings
from autoindex.storage.universe import assets
from autoindex.storage.universe.assets import Asset
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from benchmarks import alone, database, memory, own_memory, panels, table
from benchmarks.table import Ratio, say
from benchmarks.upsert import timed

SIZES = (125, 250, 500)
ROUNDS = 2
LIMIT_MB = 512
CLOCK = datetime(2022, 12, 28, 22, 0, tzinfo=UTC)
CREDITS_A_MINUTE = 100_000
# Memory that is the same at every size may differ by this, as the garbage collector comes by.
STEADY = 1.15


def ratios() -> Iterator[Ratio]:
    """Fetching beside its floor at each size, memory beside that of a quarter, and the flow's."""
    took, added, used = {}, {}, {}
    for symbols in SIZES:
        with database.empty() as engine, sandbox(symbols) as url:
            fill(engine, url)
            ours, floor, added[symbols] = beside_floor(engine, url)
            took[symbols] = ours
            what = f"refresh: fetch and parse {symbols} symbols"
            yield Ratio(what, ours, floor, "read and json.loads")
            used[symbols] = flow(engine, url)
    yield table.growth("refresh: growth, exponent of symbols", took)
    least, most = SIZES[0], SIZES[-1]
    against = f"{least} symbols"
    what = f"refresh: memory added by fetching {most}"
    yield Ratio(what, added[most], added[least], against, unit="MB", at_most=STEADY)
    what = f"refresh: flow, {most} symbols, own memory"
    yield Ratio(what, used[most], LIMIT_MB, "limit", unit="MB", at_most=1)
    yield Ratio(what, used[most], used[least], against, unit="MB")


def beside_floor(engine: Engine, url: str) -> tuple[float, float, float]:
    """Best seconds of ours and of the floor, taking turns, and the most memory that ours added."""
    where = {"url": url, "database_url": database.url_of(engine)}
    ways = ("fetch", "floor")
    rounds = [
        [alone.run(way, "benchmarks.refresh", **where) for way in ways] for _ in range(ROUNDS)
    ]
    ours, floor = (min(one["seconds"] for one in way) for way in zip(*rounds, strict=True))
    return ours, floor, max(mine["mb"] for mine, _ in rounds)


@contextmanager
def sandbox(symbols: int) -> Iterator[str]:
    """The sandbox with so many made-up symbols; its address."""
    command = [sys.executable, "-m", "sandbox", "--port", "0"]
    # Of 21 copies one is an index, which is no stock.
    copies = str(symbols + symbols // 20)
    command += ["--copies", copies, "--per-minute", str(CREDITS_A_MINUTE)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()


def fill(engine: Engine, url: str) -> None:
    """The universe that the sandbox serves, of which 5,040 sessions are kept."""
    listed = httpx.get(f"{url}/stocks", params={"apikey": "any"}, trust_env=False).json()["data"]
    kept = panels.last_sessions(panels.SESSIONS)[0].date()
    rows = [
        UniverseRow(
            symbol=one["symbol"],
            exchange=one["exchange"],
            currency=one["currency"],
            name=one["name"],
            shares_outstanding=1_000_000 * (number + 1),
        )
        for number, one in enumerate(listed)
    ]
    with engine.begin() as connection:
        import_universe(connection, rows)
        connection.execute(text("update assets set prices_kept_from = :day"), {"day": kept})


def calls(database_url: str) -> list[Batch]:
    """What a full refresh asks for."""
    with create_engine(database_url).connect() as connection:
        universe: list[Asset] = assets.list_assets(connection)
    due = fetch_plan.due_symbols(universe, {}, CLOCK, Mode.FULL)
    return list(fetch_plan.batches(due, CREDITS_A_MINUTE))


def fetch(url: str, database_url: str) -> dict[str, float]:
    """Seconds and memory of ours, nothing kept of one batch when the next is asked for."""
    batches, count = calls(database_url), 0
    with TwelveData(url, SecretStr("any")) as client:
        client.fetch(Batch(batches[0].due[:1]))
        with memory.added_mb() as added, timed() as took:
            for batch in batches:
                count += sum(len(one.bars) for one in client.fetch(batch).fetched)
    symbols = sum(len(batch.due) for batch in batches)
    if count != symbols * panels.SESSIONS:
        raise SystemExit(f"{count} bars were fetched")
    return {"seconds": took[0], "mb": added[0]}


def floor(url: str, database_url: str) -> dict[str, float]:
    """Seconds of the same pages, read and parsed as JSON."""
    batches = calls(database_url)
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client, timed() as took:
        for batch in batches:
            before = batch.end + timedelta(days=1)
            for _ in range(batch.pages):
                before = oldest(client, batch, before)
    return {"seconds": took[0]}


def oldest(client: httpx.Client, batch: Batch, before: date) -> date:
    """Ask for one page as the client does, parse it; the day of its last row."""
    parameters = {
        "symbol": ",".join(batch.symbols),
        "exchange": batch.exchange,
        "interval": "1day",
        "start_date": batch.start.isoformat(),
        "end_date": before.isoformat(),
        "outputsize": str(fetch_plan.PAGE_BARS),
        "apikey": "any",
    }
    body = json.loads(client.get("/time_series", params=parameters).content)
    one = body if "values" in body else body[batch.symbols[0]]
    return date.fromisoformat(one["values"][-1]["datetime"])


def flow(engine: Engine, url: str) -> float:
    """The most memory of its own that the flow had, in MB."""
    with TemporaryDirectory() as folder:
        settings = Settings(
            database_url=database.url_of(engine),
            data_dir=Path(folder),
            clock=CLOCK,
            twelve_data_base_url=url,
        )
        used = own_memory.of_flow(
            settings, "flows.refresh_market_data", "refresh_market_data", mode="full"
        )
    with engine.connect() as connection:
        symbols = connection.execute(text("select count(*) from assets")).scalar_one()
        stored = connection.execute(text("select count(*) from prices")).scalar_one()
    if stored != symbols * panels.SESSIONS:
        raise SystemExit(f"the flow stored {stored} bars of {symbols} symbols")
    say(f"{symbols} symbols: the flow took {used.seconds:.0f} s, starting Prefect included")
    return used.peak_mb


if __name__ == "__main__":
    sys.exit(table.main(ratios))
