"""Performance metrics by strategy, frequency and session; replaced ones are kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.tables import metrics, superseded_metrics

_KEPT: Final = ("strategy", "frequency", "session", "values", "replaced_at")

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
    row = {name: dict(window) for name, window in values.items()}
    table = metrics.c
    replaced = select(
        table.strategy, table.frequency, table.session, table["values"], func.clock_timestamp()
    ).where(
        table.strategy == strategy,
        table.frequency == frequency,
        table.session == session,
        table["values"] != row,
    )
    connection.execute(insert(superseded_metrics).from_select(_KEPT, replaced))
    statement = insert(metrics).values(
        strategy=strategy, frequency=frequency, session=session, values=row
    )
    changed = statement.on_conflict_do_update(
        index_elements=[metrics.c.strategy, metrics.c.frequency, metrics.c.session],
        set_={"values": statement.excluded["values"]},
        where=metrics.c["values"] != statement.excluded["values"],
    )
    if connection.execute(changed).rowcount:
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
