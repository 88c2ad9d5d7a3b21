"""Cursors: a page says where the next one begins, so that new rows shift nothing."""

import json
from base64 import b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Annotated, Any, Final, Generic, Self, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from autoindex.errors import InvalidRequest

K = TypeVar("K")

# Clients accept about 16 KiB of headers, and the next cursor is in one.
_LONGEST: Final = 12_000
_FORM: Final = 1
_FOREIGN: Final = (
    "not a cursor of this list with these filters; repeat the filters that it came with, or begin "
    "without a cursor"
)


class PageQuery(BaseModel):
    """The page of a list: by its number, or by a cursor."""

    model_config = {"extra": "forbid"}

    page: int = Field(default=1, ge=1, le=100_000)
    cursor: str | None = Field(
        default=None,
        description="Where the page begins, from the `Link` of the page before; it needs the same "
        "filters. Unlike by `page`, every row comes once while others are added.",
    )


class Cursor(BaseModel, Generic[K]):
    """Where a page begins: after the row `after`, and after as many rows on earlier pages.

    `after` is None where the page is asked for by its number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    filters: str
    page: Annotated[int, Field(ge=1, le=1_000_000_000)]
    rows: Annotated[int, Field(ge=0, le=1_000_000_000)]
    after: K | None

    @classmethod
    def of(cls, request: Request, query: PageQuery) -> Self:
        """The cursor of a request; raises `InvalidRequest` for one of another list."""
        filters = _digest(request, query)
        if query.cursor is None:
            return cls(filters=filters, page=query.page, rows=0, after=None)
        if query.page != 1:
            raise InvalidRequest("page", "leave it out beside a cursor")
        try:
            padded = query.cursor + "=" * (-len(query.cursor) % 4)
            cursor = cls.model_validate_json(b64decode(padded, altchars=b"-_", validate=True))
        except ValueError:
            raise InvalidRequest("cursor", _FOREIGN) from None
        if cursor.filters != filters or cursor.after is None:
            raise InvalidRequest("cursor", _FOREIGN)
        return cursor

    @property
    def may_go_on(self) -> bool:
        """Whether the rows before this page are known: page 1, or one by cursor."""
        return self.after is not None or self.page == 1

    def then(self, rows: int, after: K) -> str:
        """The cursor of the next page; raises `InvalidRequest` where it would be too long."""
        changed = {"page": self.page + 1, "rows": self.rows + rows, "after": after}
        text = self.model_copy(update=changed).model_dump_json().encode()
        written = urlsafe_b64encode(text).decode().rstrip("=")
        if len(written) > _LONGEST:
            reason = "too many rows have the same place; narrow the filters, or read by `page`"
            raise InvalidRequest("cursor", reason)
        return written


def link(request: Request, cursor: str | None) -> dict[str, str]:
    """The header that names the next page (RFC 8288), where there is one."""
    if not cursor:
        return {}
    url = request.url.remove_query_params("page").include_query_params(cursor=cursor)
    return {"Link": f'<{url.path}?{url.query}>; rel="next"'}


def _digest(request: Request, query: PageQuery) -> str:
    """What tells the list and its filters apart from others."""
    where = {"page", "per_page", "cursor", "format"}
    filters: dict[str, Any] = query.model_dump(mode="json", exclude=where)
    known = json.dumps([_FORM, request.scope["path"], filters], sort_keys=True)
    return sha256(known.encode()).hexdigest()[:16]
