"""A page of stored rows as JSON or CSV, tagged with the version of the data it shows."""

import csv
import io
from collections.abc import Callable, Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final, Protocol

from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy import Connection

from api.database import Database
from autoindex.requests import Frequency, Strategy
from autoindex.storage import published, versions
from autoindex.storage.published import Rows, Window

CSV: Final = "text/csv"


class PageQuery(Protocol):
    """Which index, which part of it, and which page."""

    strategy: Strategy
    frequency: Frequency
    page: int
    per_page: int

    @property
    def window(self) -> Window:
        """The part to show, in the storage's words."""
        ...

    def model_dump_json(self) -> str:
        """All of it, in one text."""
        ...


class Shown:
    """Shows a page of rows as JSON or CSV, or says that nothing has changed."""

    def __init__(self, query: PageQuery, name: str, accept: str, known: str | None) -> None:
        self.query, self.name, self.known = query, name, known or ""
        self.as_csv = CSV in accept

    async def page(
        self,
        database: Database,
        read: Callable[..., Rows],
        form: type[BaseModel],
        row_form: type[BaseModel],
    ) -> Response:
        """Read version and rows as of one instant, so that the tag is never of other rows."""

        def query(connection: Connection) -> tuple[str, Rows | None]:
            tag = self._tag(versions.current(connection, versions.INDEX))
            if tag in self.known:
                return tag, None
            size = self.query.per_page
            offset = (self.query.page - 1) * size
            return tag, read(connection, self.query.window, limit=size, offset=offset)

        tag, found = await database.snapshot(query)
        headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept"}
        if found is None:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if self.as_csv:
            return Response(self._csv(found.rows), media_type=CSV, headers=headers)
        content = self._json(found, form, row_form)
        return Response(content, media_type="application/json", headers=headers)

    def _tag(self, version: int) -> str:
        what = f"{self.name} {self.as_csv} {self.query.model_dump_json()}"
        return f'"{version}-{sha256(what.encode()).hexdigest()[:16]}"'

    def _csv(self, rows: Sequence[tuple[Any, ...]]) -> str:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(published.COLUMNS[self.name])
        writer.writerows(rows)
        return text.getvalue()

    def _json(self, found: Rows, form: type[BaseModel], row_form: type[BaseModel]) -> str:
        columns = published.COLUMNS[self.name]
        rows = [row_form(**dict(zip(columns, row, strict=True))) for row in found.rows]
        query = self.query
        shown = {name: getattr(query, name) for name in ("strategy", "frequency", "page")}
        return form(
            **shown, per_page=query.per_page, total=found.total, **{self.name: rows}
        ).model_dump_json()
