"""Download the file that a report task made."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.auth.identity import User
from api.auth.tokens import Scope
from api.problems import Problem, forbidden
from api.routes import report_file
from api.routes.dependencies import CurrentSettings, CurrentUser, Reports, Stored, requires
from api.routes.guarded_route import GuardedRoute
from api.routes.report_folder import ReportFolder
from api.schemas import TaskId
from autoindex.reports.mail import links
from autoindex.storage import stored_reports
from autoindex.storage.stored_reports import StoredReport

router = APIRouter(prefix="/api/v1/reports", tags=["reports"], route_class=GuardedRoute)


IfNoneMatch = Annotated[
    str | None, Header(description="The `ETag` of an earlier answer.", max_length=2_048)
]
_may_read = Depends(requires(Scope.READ, Scope.ADMIN))


@router.get(
    "/{task_id}/file",
    operation_id="downloadReport",
    dependencies=[_may_read],
    response_class=Response,
    responses=report_file.RESPONSES,
)
async def download(
    request: Request,
    task_id: TaskId,
    user: CurrentUser,
    database: Stored,
    folder: Reports,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download a report's file; another user's needs the scope `tasks:admin`.

    Every user may download a scheduled report. `Range` and `If-Range` are supported.
    """
    report = await database.read(stored_reports.find, task_id)
    if report is None:
        raise _missing(task_id)
    _check_may_fetch(user, report.requested_by)
    return await _file(request, folder, report, if_none_match)


@router.get(
    "/shared",
    operation_id="downloadSharedReport",
    response_class=Response,
    responses=report_file.RESPONSES,
)
async def download_shared(
    request: Request,
    database: Stored,
    folder: Reports,
    settings: CurrentSettings,
    link: Annotated[str, Query(max_length=2_048, description="The signed part of the link.")],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download a report's file by a link from a mail or the Prefect UI, without a token."""
    try:
        task_id = links.opened(settings, link)
    except links.LinkRefused as refused:
        raise Problem(HTTPStatus.FORBIDDEN, str(refused)) from refused
    report = await database.read(stored_reports.find, task_id)
    if report is None:
        raise _missing(task_id)
    return await _file(request, folder, report, if_none_match)


async def _file(
    request: Request, folder: ReportFolder, report: StoredReport, if_none_match: str | None
) -> Response:
    answer = await report_file.answer(report, folder, request.headers, if_none_match)
    if answer is None:
        raise _missing(report.task_id)
    return answer


def _check_may_fetch(user: User, owner: str | None) -> None:
    if owner not in (None, user.name) and not user.may(Scope.ADMIN):
        detail = f"only the user who requested this report, or {Scope.ADMIN}, may download it"
        raise forbidden(detail, Scope.ADMIN)


def _missing(task_id: UUID) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, f"there is no report file of a task {task_id}")
