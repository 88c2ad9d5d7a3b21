"""The facade as an ASGI application; `python -m api` serves it."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import openapi, problems
from api.async_storage import Database
from api.auth.identity import Identity
from api.auth.rate_limits import RateLimits
from api.monitoring.prometheus import Metrics
from api.monitoring.readiness import ReadyChecks
from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from api.routes import (
    audit_routes,
    batch_routes,
    follow_routes,
    index_routes,
    monitoring_routes,
    queue_routes,
    report_routes,
    retry_routes,
    task_routes,
    web_page_routes,
    webhook_routes,
)
from api.routes.batch_work import BatchWork
from api.routes.page_cache import PageCache
from api.routes.report_folder import ReportFolder
from api.server import cors, json_logs
from api.server.middleware import AccessLogMiddleware, AdmissionMiddleware
from api.server.shutdown import on_stop_signal, stop_with_parent
from api.slots import UserSlots
from api.tasks.deadline import Deadline
from api.tasks.pool_check import PoolCheck
from api.tasks.queue_limit import QueueLimit
from api.tasks.runner import TaskRunner
from api.tasks.status import Snapshots
from api.tasks.subscriptions import Subscriptions
from api.tasks.task_lists import TaskLists
from autoindex.errors import ConfigurationError
from autoindex.reports.mail import links
from autoindex.settings import Settings, misspelt
from autoindex.storage.postgres import engines
from autoindex.storage.postgres.listening import notifications
from autoindex.storage.runs.task_progress import CHANNEL

log = logging.getLogger("autoindex.api")

# A link to a report is signed. The page shows nothing until its user gives it a token.
_OPEN: Final = frozenset({"/health", "/ready", links.PATH}) | web_page_routes.PATHS
# The page loads nothing from elsewhere, so it needs no network.
_ASSETS: Final = "/docs-assets"
_DOCUMENTATION: Final = frozenset(
    {
        "/docs",
        "/openapi.json",
        f"{_ASSETS}/swagger-ui-bundle.js",
        f"{_ASSETS}/swagger-ui.css",
        f"{_ASSETS}/favicon.png",
    }
)


def application(settings: Settings | None = None) -> FastAPI:
    """The facade of one process; its settings are those of the environment unless they are given.

    Ends the process where they are wrong.
    """
    json_logs.install()
    stop_with_parent()
    for sentence in misspelt(os.environ):
        log.warning("%s", sentence)
    try:
        return create_app(settings or Settings())
    except ConfigurationError as error:
        raise SystemExit(f"the facade does not start: {error}") from error


def create_app(settings: Settings, runner: TaskRunner | None = None) -> FastAPI:
    """The facade, on the Prefect server of `PREFECT_API_URL` unless another runner is given.

    Raises `ConfigurationError` where `PREFECT_API_URL` or a usable signing key is missing.
    """
    identity = Identity(settings)
    limits = RateLimits(settings)
    deadline = Deadline(settings.api_answer_seconds)
    runner = runner or PrefectRunner(Connection(), answer_seconds=deadline.part_seconds)
    queue_limit = QueueLimit(runner, settings.queued_tasks_per_kind)
    stored = Database(engines.async_engine(settings, "autoindex-api", deadline.part_seconds))
    owner = PoolCheck(runner, stored)
    batches = BatchWork(runner, stored, queue_limit)
    snapshots = Snapshots(runner, stored, deadline)
    subscriptions = Subscriptions(snapshots, runner, lambda: notifications(settings, CHANNEL))
    folder = ReportFolder(settings.reports_dir)
    metrics = Metrics(runner, stored, subscriptions, deadline)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with subscriptions.running():
            with on_stop_signal(subscriptions.close):
                yield
        await batches.aclose()
        await queue_limit.aclose()
        await runner.aclose()
        await stored.aclose()
        await limits.aclose()
        await identity.aclose()
        folder.close()

    app = FastAPIOffline(
        redoc_url=None,
        static_url=_ASSETS,
        title="Autoindex",
        version=version("autoindex"),
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.settings, app.state.runner, app.state.database = settings, runner, stored
    app.state.queue_limit, app.state.cache = queue_limit, PageCache(settings)
    app.state.deadline, app.state.slots = deadline, UserSlots(deadline.part_seconds)
    app.state.subscriptions, app.state.reports = subscriptions, folder
    app.state.batches, app.state.limits = batches, limits
    app.state.owner, app.state.checks = owner, ReadyChecks(runner, stored, owner, deadline)
    app.state.metrics, app.state.lists = metrics, TaskLists(runner, deadline)
    modules = (
        task_routes,
        retry_routes,
        batch_routes,
        queue_routes,
        follow_routes,
        index_routes,
        report_routes,
        audit_routes,
        webhook_routes,
        monitoring_routes,
    )
    routers = [module.router for module in modules]
    for router in routers:
        app.include_router(router)
    app.include_router(web_page_routes.router())
    problems.install(app)
    openapi.install(app, routers)
    open_paths = _OPEN | _DOCUMENTATION if settings.api_docs else _OPEN
    app.add_middleware(
        AdmissionMiddleware, identity=identity, limits=limits, open_paths=frozenset(open_paths)
    )
    if settings.api_origins:
        cors.allow(app, settings.api_origins.split())
    app.add_middleware(AccessLogMiddleware, metrics=metrics)
    return app
