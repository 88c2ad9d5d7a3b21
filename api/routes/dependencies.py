"""Dependencies of routes: the user, the task runner, the database, the settings.

All of them are `async`, though none awaits: FastAPI runs a plain function in a thread, which takes
longer than most answers.
"""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from api.async_storage import Database
from api.auth.identity import User
from api.auth.rate_limits import RateLimits
from api.auth.tokens import Scope
from api.monitoring.readiness import ReadyChecks
from api.problems import forbidden
from api.routes.page_cache import PageCache
from api.routes.report_folder import ReportFolder
from api.tasks.runner import TaskRunner
from api.tasks.subscriptions import Subscriptions
from api.tasks.task_lists import TaskLists
from autoindex.settings import Settings
from autoindex.storage.audit import Author


async def _user(request: Request) -> User:
    user: User = request.state.user
    return user


async def _author(request: Request) -> Author:
    return Author(request.state.user.name, request.state.request_id)


async def count_start(request: Request) -> None:
    """Count a start against the user's limit; raises `TooManyRequests`."""
    limits: RateLimits = request.app.state.limits
    request.state.allowance = await limits.start(request.state.user.name)


async def _runner(request: Request) -> TaskRunner:
    runner: TaskRunner = request.app.state.runner
    return runner


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _cache(request: Request) -> PageCache:
    cache: PageCache = request.app.state.cache
    return cache


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _lists(request: Request) -> TaskLists:
    lists: TaskLists = request.app.state.lists
    return lists


async def _reports(request: Request) -> ReportFolder:
    folder: ReportFolder = request.app.state.reports
    return folder


async def _checks(request: Request) -> ReadyChecks:
    checks: ReadyChecks = request.app.state.checks
    return checks


async def _subscriptions(request: Request) -> Subscriptions:
    subscriptions: Subscriptions = request.app.state.subscriptions
    return subscriptions


CurrentUser = Annotated[User, Depends(_user)]
By = Annotated[Author, Depends(_author)]
Runner = Annotated[TaskRunner, Depends(_runner)]
Stored = Annotated[Database, Depends(_database)]
Cached = Annotated[PageCache, Depends(_cache)]
Listed = Annotated[TaskLists, Depends(_lists)]
Reports = Annotated[ReportFolder, Depends(_reports)]
Checks = Annotated[ReadyChecks, Depends(_checks)]
Following = Annotated[Subscriptions, Depends(_subscriptions)]
CurrentSettings = Annotated[Settings, Depends(_settings)]


class Permission(SecurityBase):
    """Admits users whose token has one of these scopes.

    `AdmissionMiddleware` has checked the token; as a scheme this only documents it.
    """

    model = HTTPBearer(
        bearerFormat="JWT",
        description="A JWT; `autoindex token --user NAME --scope tasks:read` makes one.",
    )
    scheme_name = "HTTPBearer"

    def __init__(self, scopes: tuple[Scope, ...]) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request) -> None:
        """Raise a 403 for other users."""
        user: User = request.state.user
        if not any(user.may(scope) for scope in self.scopes):
            detail = f"the token lacks the scope {' or '.join(self.scopes)}"
            raise forbidden(detail, *self.scopes)


def requires(*scopes: Scope) -> Permission:
    """A dependency that refuses a user whose token has none of these scopes."""
    return Permission(scopes)
