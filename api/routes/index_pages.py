"""A page of an index as JSON or CSV, tagged with the version of the data it shows.

Every request reads the version from the database, so that no answer is older than what is committed
when the request arrives; only a page of that version is taken from the cache.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final, Protocol

from fastapi import Request
from fastapi.responses import Response
from pydantic_core import to_json
from sqlalchemy import Connection

from api.async_storage import Database
from api.routes import negotiation
from api.routes.page_cache import PageCache
from autoindex.storage import cache_keys, versions
from autoindex.storage.index.index_history import Rows, Window
from autoindex.storage.versions import Stamp

JSON: Final = "application/json"
CSV: Final = "text/csv"

Row = tuple[Any, ...]


class PageQuery(Protocol):
    """Which index, which part of it, and which page."""

    page: int
    per_page: int

    @property
    def window(self) -> Window:
        """The part to show, as storage describes it."""
        ...

    def model_dump(self) -> dict[str, Any]:
        """All of it."""
        ...


@dataclass(frozen=True, slots=True)
class PagedTable:
    """A table that is read in pages: the source of its rows, and how a row is written.

    `as_csv` returns the lines of one row; `columns` are the CSV's, `fields` the JSON's. What is
    said once of all rows is beside them in JSON, and at the end of each line in CSV.
    """

    name: str
    read: Callable[..., Rows]
    fields: tuple[str, ...]
    columns: tuple[str, ...]
    as_csv: Callable[[Row], Sequence[Row]] = lambda row: [row]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request for a page."""

    table: PagedTable
    query: PageQuery
    media_type: str

    @classmethod
    def of(cls, request: Request, table: PagedTable, query: PageQuery) -> "PageRequest":
        """The page that a request asks for; raises a 406."""
        accept = ",".join(request.headers.getlist("accept"))
        return cls(table, query, negotiation.media_type(accept, (JSON, CSV)))

    def key(self, stamp: Stamp) -> str:
        """The cache key of the page, made from data of this version."""
        return cache_keys.key(
            versions.INDEX,
            stamp.version,
            # Another database may have the same version: a new one, or one beside it.
            changed_at=stamp.changed_at,
            table=self.table.name,
            media_type=self.media_type,
            query=sorted(self.query.model_dump().items()),
        )

    def tag(self, stamp: Stamp) -> str:
        """The ETag."""
        return f'"{stamp.version}-{sha256(self.key(stamp).encode()).hexdigest()[:16]}"'

    def rows(self, connection: Connection) -> tuple[Stamp, Rows]:
        """The version and the page, as of one instant."""
        stamp = versions.stamp(connection, versions.INDEX)
        size = self.query.per_page
        offset = (self.query.page - 1) * size
        return stamp, self.table.read(connection, self.query.window, limit=size, offset=offset)

    def content(self, found: Rows) -> bytes:
        """The page's text."""
        return self._csv(found) if self.media_type == CSV else self._json(found)

    def _json(self, found: Rows) -> bytes:
        fields = self.table.fields
        window, query = self.query.window, self.query
        return to_json(
            {
                "strategy": window.strategy,
                "frequency": window.frequency,
                "total": found.total,
                "page": query.page,
                "per_page": query.per_page,
                "launched_at": found.launched_at,
                **found.about,
                self.table.name: [dict(zip(fields, row, strict=True)) for row in found.rows],
            }
        )

    def _csv(self, found: Rows) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(self.table.columns)
        about = found.about.values()
        for row in found.rows:
            writer.writerows((*line, *about) for line in self.table.as_csv(row))
        return text.getvalue().encode()


async def answer(
    page_request: PageRequest, request: Request, database: Database, cache: PageCache
) -> Response:
    """The page, from the cache where it is there; a 304 where the client has it."""
    stamp = await database.read(versions.stamp, versions.INDEX)
    if negotiation.has(request.headers.get("if-none-match"), page_request.tag(stamp)):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=_headers(page_request, stamp))
    content = await cache.get(page_request.key(stamp))
    if content is None:
        # The data may have changed since: tag and key are of what was read with the rows.
        stamp, found = await database.snapshot(page_request.rows)
        content = page_request.content(found)
        await cache.set(page_request.key(stamp), content)
    return Response(
        content, media_type=page_request.media_type, headers=_headers(page_request, stamp)
    )


def _headers(page_request: PageRequest, stamp: Stamp) -> dict[str, str]:
    return {"ETag": page_request.tag(stamp), "Cache-Control": "private, no-cache", "Vary": "Accept"}
