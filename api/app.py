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
from api.auth.rate_limits import Limits
from api.monitoring.prometheus import Metrics
from api.monitoring.readiness import ReadyChecks
from api.prefect.rest import Connection
from api.prefect.runs import Prefect
from api.routes import (
    follow_routes,
    index_routes,
    monitoring_routes,
    report_routes,
    task_routes,
)
from api.routes.page_cache import PageCache
from api.routes.report_folder import ReportFolder
from api.server import cors, json_logs
from api.server.middleware import AccessLog, Gate
from api.server.shutdown import stop_with_parent, told_to_stop
from api.slots import UserSlots
from api.tasks.deadline import InTime
from api.tasks.pool_check import PoolOwner
from api.tasks.queue_limit import Backlog
from api.tasks.runner import TaskRunner
from api.tasks.status import Snapshots
from api.tasks.subscriptions import Watch
from api.tasks.task_lists import Lists
from autoindex.errors import ConfigurationError
from autoindex.reports.mail import links
from autoindex.settings import Settings, misspelt
from autoindex.storage.postgres import engines
from autoindex.storage.postgres.listening import notifications
from autoindex.storage.runs.task_progress import CHANNEL

log = logging.getLogger("autoindex.api")

# A link to a report carries its own signature.
_OPEN: Final = frozenset({"/health", "/ready", links.PATH})
# Its page brings what it shows: nothing is loaded from elsewhere, and no network is needed.
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
    """The facade; on Prefect, where `PREFECT_API_URL` says it is, unless another runner is given.

    Raises `ConfigurationError` where there is no Prefect, or no usable signing key.
    """
    identity = Identity(settings)
    limits = Limits(settings)
    in_time = InTime(settings.api_answer_seconds)
    runner = runner or Prefect(Connection(), answer_seconds=in_time.part_seconds)
    backlog = Backlog(runner, settings.queued_tasks_per_kind)
    stored = Database(engines.async_engine(settings, "autoindex-api", in_time.part_seconds))
    owner = PoolOwner(runner, stored)
    snapshots = Snapshots(runner, stored, in_time)
    watch = Watch(snapshots, runner, lambda: notifications(settings, CHANNEL))
    folder = ReportFolder(settings.reports_dir)
    metrics = Metrics(runner, stored, watch, in_time)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with watch.running():
            with told_to_stop(watch.close):
                yield
        await backlog.aclose()
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
    app.state.backlog, app.state.cache = backlog, PageCache(settings)
    app.state.in_time, app.state.slots = in_time, UserSlots(in_time.part_seconds)
    app.state.watch, app.state.reports = watch, folder
    app.state.owner, app.state.checks = owner, ReadyChecks(runner, stored, owner, in_time)
    app.state.metrics, app.state.lists = metrics, Lists(runner, in_time)
    modules = (
        task_routes,
        follow_routes,
        index_routes,
        report_routes,
        monitoring_routes,
    )
    routers = [module.router for module in modules]
    for router in routers:
        app.include_router(router)
    problems.install(app)
    openapi.install(app, routers)
    open_paths = _OPEN | _DOCUMENTATION if settings.api_docs else _OPEN
    app.add_middleware(Gate, identity=identity, limits=limits, open_paths=frozenset(open_paths))
    if settings.api_origins:
        cors.admit(app, settings.api_origins.split())
    app.add_middleware(AccessLog, metrics=metrics)
    return app
