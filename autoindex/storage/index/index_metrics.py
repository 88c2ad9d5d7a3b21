"""Performance metrics by strategy, frequency and session; replaced ones are kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.tables import metrics

_SUPERSEDE: Final = text("""
    insert into superseded_metrics (strategy, frequency, session, values, replaced_at)
    select strategy, frequency, session, values, clock_timestamp() from metrics
    where strategy = :strategy and frequency = :frequency and session = :session
        and values <> :values
""").bindparams(bindparam("values", type_=JSONB))
_STORE: Final = text("""
    insert into metrics as m (strategy, frequency, session, values)
    values (:strategy, :frequency, :session, :values)
    on conflict (strategy, frequency, session) do update set values = excluded.values
    where m.values <> excluded.values
""").bindparams(bindparam("values", type_=JSONB))

Values = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, slots=True)
class StoredMetrics:
    """Metrics as of the close of `session`: {window: {metric: number or None}}."""

    session: date
    values: Values


def store(
    connection: Connection,
    strategy: Strategy,
    frequency: Frequency,
    session: date,
    values: Values,
) -> None:
    """Store the metrics of one session; raises the version if they differ, and keeps the old."""
    row: dict[str, Any] = {"strategy": strategy, "frequency": frequency, "session": session}
    row["values"] = {name: dict(window) for name, window in values.items()}
    connection.execute(_SUPERSEDE, row)
    if connection.execute(_STORE, row).rowcount:
        versions.bump(connection, versions.INDEX)


def sessions(
    connection: Connection, strategy: Strategy, frequency: Frequency, after: date
) -> list[date]:
    """The sessions after a day that have metrics, increasing."""
    table = metrics.c
    query = select(table.session).where(
        table.strategy == strategy, table.frequency == frequency, table.session > after
    )
    return list(connection.execute(query.order_by(table.session)).scalars())


def newest(
    connection: Connection, strategy: Strategy, frequency: Frequency, until: date = date.max
) -> StoredMetrics | None:
    """The newest metrics not after `until`; None where there are none."""
    table = metrics.c
    query = (
        select(table.session, table["values"])
        .where(table.strategy == strategy, table.frequency == frequency, table.session <= until)
        .order_by(table.session.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredMetrics(row[0], row[1])
