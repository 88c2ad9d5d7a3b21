"""The tables whose rows expire: the date that counts, and the form of the rows in the archive.

The archive has no ids of this database: an asset is named by its symbol, an article has no id.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import pyarrow as pa
from psycopg import sql
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Double,
    Engine,
    Select,
    Table,
    TableClause,
    Text,
    Uuid,
    cast,
    column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import JSONB

from autoindex.requests import ArchivedType
from autoindex.storage.tables import assets, news_articles, prices, task_results
from autoindex.storage.universe import universe_changes

_ROWS_A_READ: Final = 5_000
_STAGED: Final = "staged_rows"
_ARROW: Final[Mapping[type[Any], pa.DataType]] = {
    BigInteger: pa.int64(),
    Date: pa.date32(),
    DateTime: pa.timestamp("us", "UTC"),
    Double: pa.float64(),
    JSONB: pa.string(),
    Text: pa.string(),
    Uuid: pa.string(),
}


@dataclass(frozen=True, slots=True)
class AgedTable:
    """A table whose rows are removed from a certain age on.

    `key` names a row, `dated` is the column that gives its age, `columns` are archived.
    """

    table: Table
    key: tuple[str, ...]
    dated: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The table's name, in the database and in the archive."""
        return self.table.name

    @property
    def date_column(self) -> Column[Any]:
        """The column that gives a row's age."""
        return self.table.c[self.dated]

    @property
    def archive_key(self) -> tuple[str, ...]:
        """The archive's columns that name a row."""
        return tuple(_archived_as(name) for name in self.key)

    @property
    def schema(self) -> pa.Schema:
        """The archive's columns."""
        return pa.schema(self._field(name) for name in self.columns)

    def _field(self, name: str) -> pa.Field:
        if name == "asset_id":
            return pa.field("symbol", pa.string())
        return pa.field(name, _ARROW[type(self.table.c[name].type)])

    def before(self, day: date) -> ColumnElement[bool]:
        """Whether a row is older than `day`, which begins at midnight UTC."""
        return self.date_column < self.begin(day)

    def since(self, day: date) -> ColumnElement[bool]:
        """Whether a row is of `day` or later."""
        return self.date_column >= self.begin(day)

    def begin(self, day: date) -> date:
        """The first value of the dated column that is of `day`."""
        if isinstance(self.date_column.type, Date):
            return day
        return datetime.combine(day, time(), UTC)


AGED: Final[Mapping[ArchivedType, AgedTable]] = {
    "prices": AgedTable(
        prices,
        key=("asset_id", "session"),
        dated="session",
        columns=("asset_id", "session", "open", "high", "low", "close", "volume"),
    ),
    "news": AgedTable(
        news_articles,
        key=("url",),
        dated="published_at",
        columns=("url", "published_at", "headline", "source", "asset_id", "body"),
    ),
    "logs": AgedTable(
        task_results,
        key=("task_id",),
        dated="expires_at",
        columns=("task_id", "kind", "result", "created_at", "expires_at"),
    ),
}


def month_of(day: date) -> date:
    """The first day of a day's month."""
    return date(day.year, day.month, 1)


def next_month(month: date) -> date:
    """The first day of the month after."""
    return month_of(month + timedelta(days=31))


def rows(engine: Engine, aged: AgedTable, which: ColumnElement[bool]) -> Generator[pa.RecordBatch]:
    """The rows as the archive holds them, by key, as of one instant; close it when done."""
    query = _archived_rows(aged).where(which).order_by(*(aged.table.c[n] for n in aged.key))
    with (
        engine.connect() as connection,
        connection.execution_options(stream_results=True).execute(query) as found,
    ):
        for part in found.partitions(_ROWS_A_READ):
            columns = zip(*part, strict=True)
            yield pa.record_batch(
                [pa.array(v, f.type) for v, f in zip(columns, aged.schema, strict=True)],
                schema=aged.schema,
            )


def _archived_rows(aged: AgedTable) -> Select[Any]:
    query = select(*(_archived_value(aged.table.c[name]) for name in aged.columns))
    if "asset_id" not in aged.columns:
        return query
    with_symbol = aged.table.outerjoin(assets, assets.c.id == aged.table.c.asset_id)
    return query.select_from(with_symbol)


def _archived_value(stored: Column[Any]) -> ColumnElement[Any]:
    if stored.name == "asset_id":
        return assets.c.symbol
    return cast(stored, Text) if isinstance(stored.type, JSONB | Uuid) else stored


def _archived_as(name: str) -> str:
    return "symbol" if name == "asset_id" else name


def asset_ids(connection: Connection) -> dict[str, int]:
    """The asset of every symbol that one has, or had when it was archived."""
    now = connection.execute(select(assets.c.symbol, assets.c.id)).tuples()
    return universe_changes.former_symbols(connection) | dict(now.all())


def stage(
    connection: Connection, aged: AgedTable, archived: pa.RecordBatch, ids: Mapping[str, int]
) -> TableClause:
    """Load archived rows into a temporary table with the columns of the table they came from.

    It stays until it is dropped or the transaction ends. Rows of symbols that `ids` lacks are left
    out.
    """
    target, columns = sql.Identifier(aged.name), _identifiers(aged)
    staged = sql.Identifier(_STAGED)
    # SQLAlchemy has no COPY; psycopg's own cursor takes part in the same transaction.
    with _cursor(connection) as cursor:
        cursor.execute(sql.SQL("drop table if exists pg_temp.{}").format(staged))
        make = "create temporary table {} on commit drop as select {} from {} with no data"
        cursor.execute(sql.SQL(make).format(staged, columns, target))
        with cursor.copy(sql.SQL("copy {} ({}) from stdin").format(staged, columns)) as copy:
            for row in _rows_of(aged, archived, ids):
                copy.write_row(row)
        cursor.execute(sql.SQL("analyze {}").format(staged))
    return table(_STAGED, *(column(name) for name in aged.columns))


def _identifiers(aged: AgedTable) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, aged.columns))


def _rows_of(
    aged: AgedTable, archived: pa.RecordBatch, ids: Mapping[str, int]
) -> Iterator[tuple[object, ...]]:
    lists = [archived.column(_archived_as(name)).to_pylist() for name in aged.columns]
    if "asset_id" not in aged.columns:
        yield from zip(*lists, strict=True)
        return
    at = aged.columns.index("asset_id")
    for row in zip(*lists, strict=True):
        if row[at] is None or row[at] in ids:
            yield (*row[:at], ids.get(row[at]), *row[at + 1 :])


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()
