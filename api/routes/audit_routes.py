"""Read the audit: who did what, and when."""

import csv
import io
import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from api.auth.tokens import Scope
from api.routes import cursors, negotiation
from api.routes.cursors import Cursor, PageQuery
from api.routes.dependencies import Stored, requires
from api.routes.guarded_route import GuardedRoute
from api.routes.index_pages import CSV, JSON
from api.routes.task_routes import Since
from api.schemas import UserName
from autoindex.storage import audit
from autoindex.storage.audit import Wanted

router = APIRouter(
    prefix="/api/v1/audit",
    tags=["audit"],
    route_class=GuardedRoute,
    dependencies=[Depends(requires(Scope.ADMIN))],
)

Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class AuditQuery(PageQuery):
    """Which entries."""

    user: UserName | None = None
    action: Text | None = Field(default=None, examples=["cancel task"])
    subject: Text | None = Field(default=None, description="The id of a task, or the like.")
    since: Since | None = Field(default=None, description="Only entries of this time or later.")
    format: Literal["json", "csv"] | None = Field(
        default=None, description="By `Accept` where it is left out."
    )
    per_page: int = Field(default=50, ge=1, le=10_000)


AuditCursor = Cursor[Annotated[int, Field(ge=1, lt=2**63)]]


class AuditEntry(BaseModel):
    """One act. An entry says what was asked; whether a task was queued is an entry of its own."""

    id: int = Field(description="Rises with every entry.", examples=[1])
    at: datetime
    user: str = Field(description="Who acted.", examples=["ada"])
    request_id: str | None = Field(
        description="The `X-Request-ID` of the request; null for a command."
    )
    action: str = Field(examples=["cancel task"])
    subject: str | None = Field(
        description="What was acted on: a task, queue or asset, by its id.",
        examples=["0196f3f4-8f7a-7c3e-9d53-0c2f5a7e9b10"],
    )
    before: dict[str, Any] | None = Field(examples=[{"wanted_by": ["ada"]}])
    after: dict[str, Any] | None = Field(examples=[{"wanted_by": []}])


class AuditPage(BaseModel):
    """A page of the audit, newest first."""

    entries: list[AuditEntry]
    total: int = Field(description="The number of entries on all pages.", examples=[1])
    page: int = Field(examples=[1])
    per_page: int = Field(examples=[50])


_COLUMNS: Final = tuple(AuditEntry.model_fields)
_AS_CSV: Final = {"schema": {"type": "string"}, "example": f"{','.join(_COLUMNS)}\r\n"}


@router.get(
    "",
    operation_id="readAudit",
    response_model=AuditPage,
    responses={200: {"content": {CSV: _AS_CSV}}},
)
async def read(
    request: Request, query: Annotated[AuditQuery, Query()], database: Stored
) -> Response:
    """Read who did what, newest first; needs the scope `tasks:admin`."""
    accepted = ",".join(request.headers.getlist("accept"))
    chosen = {"json": JSON, "csv": CSV, None: None}[query.format]
    media_type = chosen or negotiation.media_type(accepted, (JSON, CSV))
    cursor = AuditCursor.of(request, query)
    wanted = Wanted(query.user, query.action, query.subject, query.since, cursor.after)
    size = query.per_page
    offset = (query.page - 1) * size
    left, found = await database.read(audit.load, wanted, limit=size, offset=offset)
    entries = [AuditEntry.model_validate(one, from_attributes=True) for one in found]
    total = cursor.rows + left
    shown = AuditPage(entries=entries, total=total, page=cursor.page, per_page=size)
    content = _csv(entries) if media_type == CSV else shown.model_dump_json()
    has_next = cursor.may_go_on and left > len(found)
    following = cursor.then(len(found), found[-1].id) if has_next else None
    headers = {"Vary": "Accept", **cursors.link(request, following)}
    return Response(content, media_type=media_type, headers=headers)


def _csv(entries: list[AuditEntry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for entry in entries:
        values = entry.model_dump(mode="json").values()
        writer.writerow(json.dumps(one) if isinstance(one, dict) else one for one in values)
    return text.getvalue()
