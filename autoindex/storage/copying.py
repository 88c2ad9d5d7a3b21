"""PostgreSQL's binary COPY from and to NumPy arrays, many times as fast as rows of objects.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_ROWS_A_WRITE: Final = 65_536
# Days from PostgreSQL's first day to NumPy's.
_EPOCH: Final = int(np.datetime64("2000-01-01", "D").astype(np.int64))


def load(connection: Connection, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
    """COPY arrays of equal length into a table's columns.

    int32, int64 and float64 go in as they are, datetime64[D] as date. A masked array's masked
    values go in as null.
    """
    with _cursor(connection) as cursor:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        statement = sql.SQL("copy {} ({}) from stdin (format binary)")
        with cursor.copy(statement.format(sql.Identifier(table), names)) as copy:
            copy.write(_SIGNATURE)
            length = len(next(iter(columns.values())))
            for start in range(0, length, _ROWS_A_WRITE):
                part = {n: v[start : start + _ROWS_A_WRITE] for n, v in columns.items()}
                copy.write(_encode(list(part.values())))
            copy.write(_TRAILER)


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
    return f">{column.dtype.kind}{column.dtype.itemsize}"


def _item_size(column: NDArray[Any]) -> int:
    return np.dtype(_wire_type(column)).itemsize


def _wire_values(column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype.kind == "M":
        return column.astype("datetime64[D]").astype(np.int64) - _EPOCH
    return column


def unload(
    connection: Connection, query: sql.Composable, dtypes: Mapping[str, str]
) -> Iterator[NDArray[Any]]:
    """COPY a query's rows out, some tens of thousands at a time; no value may be null.

    `dtypes` names the columns in order, each `date`, `int4`, `int8` or `float8`. What comes are
    structured arrays with big-endian fields; `date` counts days from 2000-01-01.
    """
    row = _row_type(dtypes)
    with _cursor(connection) as cursor:
        statement = sql.SQL("copy ({}) to stdout (format binary)").format(query)
        with cursor.copy(statement) as copy:
            waiting, skip = bytearray(), len(_SIGNATURE)
            for block in copy:
                waiting += block
                if len(waiting) >= skip + row.itemsize * _ROWS_A_WRITE:
                    yield _take(waiting, skip, row)
                    skip = 0
            # What is left ends with the trailer, which is shorter than any row.
            yield _take(waiting, skip, row)


def _take(waiting: bytearray, skip: int, row: np.dtype[Any]) -> NDArray[Any]:
    """Cut the whole rows off the front of what was received."""
    count = (len(waiting) - skip) // row.itemsize
    end = skip + count * row.itemsize
    rows = np.frombuffer(bytes(waiting[skip:end]), dtype=row, count=count)
    del waiting[:end]
    return rows


def _row_type(dtypes: Mapping[str, str]) -> np.dtype[Any]:
    wire = {"date": ">i4", "int4": ">i4", "int8": ">i8", "float8": ">f8"}
    fields: list[tuple[str, str]] = [("_count", ">i2")]
    for name, kind in dtypes.items():
        fields += [(f"_{name}", ">i4"), (name, wire[kind])]
    return np.dtype(fields)


def as_days(column: NDArray[Any]) -> NDArray[np.datetime64]:
    """A date column of `unload` as datetime64[D]."""
    return (column.astype(np.int64) + _EPOCH).astype("datetime64[D]")


def _cursor(connection: Connection) -> Any:
    # SQLAlchemy has no COPY; psycopg's own cursor takes part in the same transaction.
    return connection.connection.cursor()
