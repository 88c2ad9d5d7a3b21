"""PostgreSQL's binary COPY from and to NumPy arrays, many times as fast as rows of objects.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection

from autoindex.storage.postgres import transient

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TO_STDOUT: Final = sql.SQL("copy ({}) to stdout (format binary)")
_TRAILER: Final = b"\xff\xff"
_ROWS_A_WRITE: Final = 65_536
# How each type travels, and the function that makes a value travel so.
_WIRE: Final = {"date": ">i4", "int4": ">i4", "int8": ">i8", "float8": ">f8"}
_SEND: Final = {
    "date": "date_send",
    "int4": "int4send",
    "int8": "int8send",
    "float8": "float8send",
}
# Days from PostgreSQL's first day to NumPy's.
_EPOCH: Final = int(np.datetime64("2000-01-01", "D").astype(np.int64))


def load(connection: Connection, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
    """COPY arrays of equal length into a table's columns.

    int32, int64 and float64 go in as they are, datetime64[D] as date, what `repeated` makes as
    text. A masked array's masked values go in as null.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("copy {} ({}) from stdin (format binary)")
    with _copying(connection, statement.format(sql.Identifier(table), names)) as copy:
        copy.write(_SIGNATURE)
        length = len(next(iter(columns.values())))
        for start in range(0, length, _ROWS_A_WRITE):
            part = {n: v[start : start + _ROWS_A_WRITE] for n, v in columns.items()}
            copy.write(_encode(list(part.values())))
        copy.write(_TRAILER)


def repeated(word: str, length: int) -> NDArray[np.bytes_]:
    """A text column with the same word in every row; takes the memory of one."""
    return np.broadcast_to(np.array(word.encode()), length)


def _encode(columns: Sequence[NDArray[Any]]) -> bytes:
    """Rows of one chunk; all of fixed length unless a column holds nulls."""
    if any(np.ma.is_masked(column) for column in columns):
        return _encode_with_nulls(columns)
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for number, column in enumerate(columns):
        fields += [(f"size{number}", ">i4"), (f"value{number}", _wire_type(column))]
    rows = np.empty(len(columns[0]), dtype=fields)
    rows["count"] = len(columns)
    for number, column in enumerate(columns):
        rows[f"size{number}"] = rows.dtype[f"value{number}"].itemsize
        rows[f"value{number}"] = _wire_values(column)
    return rows.tobytes()


def _encode_with_nulls(columns: Sequence[NDArray[Any]]) -> bytes:
    """As above, the bytes of null values cut out: a null has the size -1 and no value."""
    whole = np.frombuffer(
        _encode([np.ma.getdata(column) for column in columns]), dtype=np.uint8
    ).reshape(len(columns[0]), -1)
    rows, keep = whole.copy(), np.ones(whole.shape, bool)
    offset = 2
    for column in columns:
        null = np.ma.getmaskarray(column)
        size = _item_size(column)
        rows[null, offset : offset + 4] = 0xFF
        keep[null, offset + 4 : offset + 4 + size] = False
        offset += 4 + size
    return rows[keep].tobytes()


def _wire_type(column: NDArray[Any]) -> str:
    if column.dtype.kind == "M":
        return ">i4"
    if column.dtype.kind == "S":
        return f"S{column.dtype.itemsize}"
    return f">{column.dtype.kind}{column.dtype.itemsize}"


def _item_size(column: NDArray[Any]) -> int:
    return np.dtype(_wire_type(column)).itemsize


def _wire_values(column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype.kind == "M":
        return column.astype("datetime64[D]").astype(np.int64) - _EPOCH
    return column


def packed(dtypes: Mapping[str, str]) -> sql.Composable:
    """Aggregates for a query of `unload_packed`: each column's values, one after another."""
    kinds = {name: sql.SQL(_SEND[kind]) for name, kind in dtypes.items()}
    return sql.SQL(", ").join(
        sql.SQL("string_agg({}({}), ''::bytea)").format(send, sql.Identifier(name))
        for name, send in kinds.items()
    )


def unload_packed(
    connection: Connection, query: sql.Composable, dtypes: Mapping[str, str]
) -> Iterator[tuple[int, list[NDArray[Any]]]]:
    """COPY a query's groups out: each an int4 and its `packed` columns, in the order of `dtypes`.

    Many times as fast as rows, because a row of the answer is a whole group. The columns of one
    group belong together position by position, in no promised order. No value may be null.
    """
    wire = [_WIRE[kind] for kind in dtypes.values()]
    with _copying(connection, _TO_STDOUT.format(query)) as copy:
        copy.set_types(["int4", *(["bytea"] * len(wire))])
        for key, *values in copy.rows():
            together = zip(values, wire, strict=True)
            yield key, [np.frombuffer(value or b"", kind) for value, kind in together]


def as_days(column: NDArray[Any]) -> NDArray[np.datetime64]:
    """A date column of `unload_packed` as datetime64[D]."""
    return (column.astype(np.int64) + _EPOCH).astype("datetime64[D]")


@contextmanager
def _copying(connection: Connection, statement: sql.Composed) -> Iterator[psycopg.Copy]:
    # SQLAlchemy has no COPY; psycopg's own cursor takes part in the same transaction. Its errors
    # become SQLAlchemy's, so that a lost connection is told from a bad row as everywhere else.
    cursor = cast("psycopg.Cursor[Any]", connection.connection.cursor())
    try:
        with cursor, cursor.copy(statement) as copy:
            yield copy
    except psycopg.Error as error:
        if cursor.connection.closed or isinstance(error, transient.READ_ONLY):
            connection.invalidate(error)
        raise transient.operational(error, statement.as_string()) from error
