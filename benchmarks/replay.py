"""Three years of schedules replayed at a simulated clock: does what is stored level off?

    python -m benchmarks.replay [--months 36] [--csv FILE]

Every hour a smart refresh, which stores a result; after every close the day's bars and the index;
on Saturdays the weekly PDF, mailed; on the first of a month the cleanup with its default age. The
prices are the sandbox's and stand at 2020 when it begins, with thirty years behind them. Each step
is what the flows do, without Prefect; what Prefect itself stores is `benchmarks.runs`' matter.
"""

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import pandas as pd
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, func, insert, select

from autoindex import sessions
from autoindex.market_data.bars import Bars
from autoindex.reports import files
from autoindex.requests import (
    ComputeIndexRequest,
    ReportFormat,
    ReportRequest,
    ReportType,
)
from autoindex.settings import Settings
from autoindex.storage import deliveries, stored_reports
from autoindex.storage.cache import from_settings
from autoindex.storage.prices import stored_prices
from autoindex.storage.retention import deletion, maintenance
from autoindex.storage.runs import results
from autoindex.storage.stored_reports import StoredReport
from autoindex.storage.tables import metadata, news_articles
from autoindex.storage.universe import assets, universe_file
from autoindex.storage.universe.universe_import import import_universe
from benchmarks import database
from benchmarks.compute import compute
from benchmarks.reports import closes_and_benchmark
from benchmarks.table import say
from deployments.commands.universe_command import SANDBOX_FILE
from flows import compute_index, generate_report
from flows.attempts.runtime import Runtime

START: Final = datetime(2020, 1, 1, tzinfo=UTC)
MONTHS: Final = 36
KEPT_DAYS: Final = 365
RESULT_HOURS: Final = 24
ARTICLES_A_DAY: Final = 20
COUNTED: Final = {
    "prices": "prices",
    "news": "news_articles",
    "results": "task_results",
    "reports": "reports",
    "levels": "index_levels",
}
_CLOSE: Final = 22
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class Size:
    """What is stored once a month's cleanup is done."""

    month: str
    prices: int
    news: int
    results: int
    reports: int
    levels: int
    tables_mb: float
    report_files: int
    report_folders: int
    report_mb: float
    archive_files: int
    archive_mb: float


class Replay:
    """The schedules, at a clock of their own."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._settings = Settings(data_dir=folder)
        closes, benchmark = closes_and_benchmark()
        self._closes = closes.assign(SPX=benchmark)
        with engine.begin() as connection:
            import_universe(connection, universe_file.read(SANDBOX_FILE))
            self._ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        self._result: dict[str, Any] = {}

    def begin(self) -> None:
        """Thirty years of prices, and the index on them."""
        self._store(self._closes[: pd.Timestamp(START.date()) - pd.Timedelta(days=1)])
        self._compute(START)

    def months(self, count: int) -> Iterator[Size]:
        """Go through so many months; what is stored after each month's cleanup."""
        now = START
        for _ in range(count):
            begun = now
            while (now.year, now.month) == (begun.year, begun.month):
                self._hour(now)
                now += timedelta(hours=1)
            self._cleanup(now)
            yield self._size(f"{begun:%Y-%m}")

    def _hour(self, now: datetime) -> None:
        if now.hour == _CLOSE:
            self._day(now.date(), now)
        if now.weekday() == _SATURDAY and now.hour == 12:
            self._report(now)
        self._keep_result("refresh", now)

    def _day(self, day: date, now: datetime) -> None:
        self._publish_news(day, now)
        if sessions.last_closed(now) == day and pd.Timestamp(day) in self._closes.index:
            self._store(self._closes.loc[[pd.Timestamp(day)]])
            self._compute(now)

    def _keep_result(self, kind: str, now: datetime) -> None:
        with self._engine.begin() as connection:
            lifetime = timedelta(hours=RESULT_HOURS)
            results.store(connection, _task(kind, now), kind, self._result, now, lifetime)

    def _publish_news(self, day: date, now: datetime) -> None:
        articles = [
            {
                "url": f"https://news.example/{day}/{number}",
                "published_at": now,
                "headline": f"Headline {number} of {day}, about as long as headlines are",
                "source": "example",
                "body": "A paragraph of some length. " * 20,
            }
            for number in range(ARTICLES_A_DAY)
        ]
        with self._engine.begin() as connection:
            connection.execute(insert(news_articles), articles)

    def _store(self, closes: pd.DataFrame) -> None:
        bars = [_bars(symbol, closes[symbol].dropna()) for symbol in self._ids]
        with self._engine.begin() as connection:
            stored_prices.upsert(connection, bars, self._ids)

    def _compute(self, now: datetime) -> None:
        run, request = self._runtime("compute", now), ComputeIndexRequest()
        with disable_run_logger():
            loaded = compute_index.load_prices.fn(run, request)
            computed = compute(loaded, request)
            compute_index.store.fn(run, request, loaded, computed)
        measures = dict(computed.newest_metrics["all"])
        self._result = {
            "symbols_processed": 21,
            "records_updated": 21,
            "credits_spent": 21,
            "index": {"last_session": str(computed.levels.index[-1].date()), "metrics": measures},
        }

    def _report(self, now: datetime) -> None:
        run = self._runtime("report", now)
        request = ReportRequest(report_type=ReportType.WEEKLY, format=ReportFormat.PDF)
        with disable_run_logger():
            content = generate_report.aggregate.fn(run, request)
            path = generate_report.render.fn(run, request, content)
        for written in (path, path.parent):  # the cleanup looks at when a file was written
            os.utime(written, (now.timestamp(), now.timestamp()))
        report = StoredReport(
            task_id=run.task_id,
            report_type=request.report_type.value,
            format=request.format.value,
            period_start=content.period.first,
            period_end=content.period.last,
            path=str(path.relative_to(self._settings.reports_dir)),
            media_type=files.KINDS[request.format].media_type,
            size_bytes=path.stat().st_size,
            sha256="0" * 64,
            requested_by=None,
            created_at=now,
        )
        with self._engine.begin() as connection:
            stored_reports.record(connection, report)
            deliveries.claim(connection, run.task_id, "reader@example.org", str(run.task_id))
        self._keep_result("report", now)

    def _cleanup(self, now: datetime) -> None:
        day = now - timedelta(days=KEPT_DAYS)
        deletion.clean(
            self._engine,
            types=["prices", "news", "logs"],
            older_than=day.date(),
            archive_url=self._settings.archive,
            dry_run=False,
            pause_seconds=0,
        )
        maintenance.clear_temporary(self._settings, day)
        maintenance.clear_reports(self._engine, self._settings, day)
        maintenance.optimise(self._engine)
        self._keep_result("cleanup", now)

    def _runtime(self, kind: str, now: datetime) -> Runtime:
        cache = from_settings(self._settings)
        return Runtime(self._settings, self._engine, cache, now, _task(kind, now))

    def _size(self, month: str) -> Size:
        folder, archive = self._settings.reports_dir, self._settings.data_dir / "archive"
        with self._engine.connect() as connection:
            rows = {
                field: connection.scalar(select(func.count()).select_from(metadata.tables[name]))
                for field, name in COUNTED.items()
            }
            sizes = select(*(func.pg_total_relation_size(name) for name in metadata.tables))
            stored = sum(connection.execute(sizes).one())
        return Size(
            month=month,
            **{field: count or 0 for field, count in rows.items()},
            tables_mb=stored / 1e6,
            report_files=_count(folder),
            report_folders=sum(path.is_dir() for path in folder.rglob("*")),
            report_mb=_megabytes(folder),
            archive_files=_count(archive),
            archive_mb=_megabytes(archive),
        )


def _task(kind: str, now: datetime) -> UUID:
    return uuid5(NAMESPACE_URL, f"{kind} {now.isoformat()}")


def _bars(symbol: str, close: "pd.Series[float]") -> Bars:
    days = close.index.to_numpy().astype("datetime64[D]")
    values = np.asarray(close, dtype=np.float64)
    volume = np.full(len(values), 1_000_000)
    return Bars(symbol, days, values, values, values, values, volume)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _count(folder: Path) -> int:
    return len(_files(folder))


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in _files(folder)) / 1e6


@contextmanager
def replay() -> Iterator[Replay]:
    """On a server and in a folder of its own."""
    with database.empty() as engine, TemporaryDirectory() as folder:
        made = Replay(engine, Path(folder).resolve())
        made.begin()
        yield made


def main() -> int:
    """Replay, print a line a month."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--months", type=int, default=MONTHS, choices=range(1, MONTHS + 1))
    parser.add_argument("--csv", type=Path, help="write the lines here as well")
    chosen = parser.parse_args()
    names = [field.name for field in fields(Size)]
    say("  ".join(names))
    began, lines = time.monotonic(), []
    with replay() as schedules:
        for size in schedules.months(chosen.months):
            lines.append(asdict(size))
            shown = [f"{v:.1f}" if isinstance(v, float) else str(v) for v in lines[-1].values()]
            say("  ".join(shown))
    say(f"{time.monotonic() - began:.0f} s")
    if chosen.csv:
        with chosen.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
