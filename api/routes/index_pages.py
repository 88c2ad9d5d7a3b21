"""A page of an index as JSON or CSV, tagged with the version of the data it shows.

Every request reads the version from the database, so that no answer is older than what is committed
when the request arrives; only a page of that version is taken from the cache.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field
from pydantic_core import to_json
from sqlalchemy import Connection

from api.async_storage import Database
from api.routes import cursors, negotiation
from api.routes.cursors import Cursor, PageQuery
from api.routes.page_cache import PageCache
from autoindex.storage import cache_keys, versions
from autoindex.storage.index.index_history import Rows, Window
from autoindex.storage.versions import Stamp

JSON: Final = "application/json"
CSV: Final = "text/csv"
# The cursor of the next page, a line break, and the page.
_CACHED_FORM: Final = 2

Row = tuple[Any, ...]


# A session, and how many of its rows are on earlier pages.
IndexCursor = Cursor[tuple[date, Annotated[int, Field(ge=0, le=1_000_000)]]]


class WindowQuery(PageQuery):
    """Which index, which part of it, and which page."""

    per_page: int = Field(default=1_000, ge=1, le=10_000)

    @property
    def window(self) -> Window:
        """The part to show, as storage describes it."""
        raise NotImplementedError


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

    @property
    def is_by_session(self) -> bool:
        """Whether its rows begin with their session, by which they are sorted."""
        return self.fields[0] == "session"


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request for a page."""

    table: PagedTable
    query: WindowQuery
    cursor: IndexCursor
    media_type: str

    @classmethod
    def of(cls, request: Request, table: PagedTable, query: WindowQuery) -> "PageRequest":
        """The page that a request asks for; raises a 406, and `InvalidRequest`."""
        accept = ",".join(request.headers.getlist("accept"))
        media_type = negotiation.media_type(accept, (JSON, CSV))
        return cls(table, query, IndexCursor.of(request, query), media_type)

    def key(self, stamp: Stamp) -> str:
        """The cache key of the page, made from data of this version."""
        return cache_keys.key(
            versions.INDEX,
            stamp.version,
            # Another database may have the same version: a new one, or one beside it.
            changed_at=stamp.changed_at,
            table=self.table.name,
            media_type=self.media_type,
            # Another release may write another form.
            form=_CACHED_FORM,
            query=sorted(self.query.model_dump().items()),
        )

    def tag(self, stamp: Stamp) -> str:
        """The ETag."""
        return f'"{stamp.version}-{sha256(self.key(stamp).encode()).hexdigest()[:16]}"'

    def rows(self, connection: Connection) -> tuple[Stamp, Rows]:
        """The version and the page, as of one instant."""
        stamp = versions.stamp(connection, versions.INDEX)
        window, size = self.query.window, self.query.per_page
        if self.cursor.after is not None:
            window = window.going_on(self.cursor.after[0])
        return stamp, self.table.read(connection, window, limit=size, offset=self._offset)

    @property
    def _offset(self) -> int:
        if self.cursor.after is not None:
            return self.cursor.after[1]
        return (self.query.page - 1) * self.query.per_page

    def following(self, found: Rows) -> str | None:
        """The cursor of the next page, where there is one."""
        is_last = found.total <= self._offset + len(found.rows)
        if is_last or not (self.table.is_by_session and self.cursor.may_go_on):
            return None
        last = found.rows[-1][0]
        shown = sum(row[0] == last for row in found.rows)
        known, seen = self.cursor.after or (None, 0)
        return self.cursor.then(len(found.rows), (last, shown + (seen if known == last else 0)))

    def content(self, found: Rows) -> bytes:
        """The page's text."""
        return self._csv(found) if self.media_type == CSV else self._json(found)

    def _json(self, found: Rows) -> bytes:
        fields = self.table.fields
        window, cursor = self.query.window, self.cursor
        known = cursor.rows - self._offset if cursor.after is not None else 0
        return to_json(
            {
                "strategy": window.strategy,
                "frequency": window.frequency,
                "total": found.total + known,
                "page": cursor.page,
                "per_page": self.query.per_page,
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
    cached = await cache.get(page_request.key(stamp))
    if cached is None:
        # The data may have changed since: tag and key are of what was read with the rows.
        stamp, found = await database.snapshot(page_request.rows)
        following = (page_request.following(found) or "").encode()
        cached = b"%s\n%s" % (following, page_request.content(found))
        await cache.set(page_request.key(stamp), cached)
    next_page, _, content = cached.partition(b"\n")
    headers = _headers(page_request, stamp) | cursors.link(request, next_page.decode())
    return Response(content, media_type=page_request.media_type, headers=headers)


def _headers(page_request: PageRequest, stamp: Stamp) -> dict[str, str]:
    return {"ETag": page_request.tag(stamp), "Cache-Control": "private, no-cache", "Vary": "Accept"}
