"""Create or update databases, work pool, queues, notices and deployments; safe to repeat."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import yaml
from anyio.from_thread import start_blocking_portal
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool, WorkQueue
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from sqlalchemy import make_url

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from autoindex.storage import audit, migrate
from autoindex.storage.audit import Author
from autoindex.storage.postgres import pooler
from autoindex.storage.runs import pool_owner
from deployments import kept_schedules, prefect_server, stranded_runs
from deployments.alerts import alerting
from deployments.commands.caller import user_name
from deployments.database_connection import answering, connected
from deployments.local.console import Progress
from flows.attempts.transient_errors import PrefectError, PrefectStatusError
from worker import POOL
from worker.autoindex_worker import AutoindexWorker
from worker.prefect_yaml import PROJECT, read_prefect_yaml

_REFUSES: Final = "the Prefect server refuses us: see PREFECT_API_AUTH_STRING"
_REASONS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: _REFUSES,
    HTTPStatus.FORBIDDEN: _REFUSES,
    HTTPStatus.NOT_FOUND: "this is no Prefect API: PREFECT_API_URL must end in /api",
}
_DEPLOY: Final = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")
_NO_REASON: Final = "the Prefect server can't be used: see PREFECT_API_URL"


def bootstrap(settings: Settings, progress: Progress, *, reset_schedules: bool = False) -> None:
    """Create or update everything Autoindex needs; a second call changes nothing.

    Schedules that were changed in Prefect stay, unless they are to be reset. Needs a running
    PostgreSQL and a running Prefect server (`PREFECT_API_URL`); raises `ConfigurationError` if one
    of them does not answer.
    """
    api = get_current_settings().api.url
    if api is None:
        raise ConfigurationError(
            "PREFECT_API_URL is not set: say where the Prefect server is, "
            "as in PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    with progress.step("Database", "migrations") as step:
        step.done(prepare_database(settings))
        note(settings, api)
    with _prefect_answers(api):
        with progress.step("Work queues", api) as step:
            step.done(register_pool(api, owner(settings)))
        with progress.step("Notices", api) as step:
            notices = alerting.apply(settings, api)
            step.done(notices.sentence)
        with progress.step("Deployments", "`prefect deploy --all`") as step:
            step.done(deploy(os.environ, api, reset_schedules=reset_schedules))
        alerting.arm(api, again=notices.changed)


@contextmanager
def _prefect_answers(api_url: str) -> Iterator[None]:
    try:
        yield
    except PrefectStatusError as error:
        reason = _REASONS.get(error.response.status_code, _NO_REASON)
        raise ConfigurationError(f"{reason}\n{error}") from error
    except PrefectError as error:
        raise ConfigurationError(
            f"no Prefect server answers at {api_url}: start it, or see PREFECT_API_URL\n{error}"
        ) from error


def prepare_database(settings: Settings) -> str:
    """Create our database if it is missing, and migrate its tables.

    Raises `ConfigurationError` if PostgreSQL does not answer, or is behind a pooler that keeps no
    session.
    """
    with answering(settings):
        migrate.create_database(settings.database())
        with start_blocking_portal() as portal:  # the caller's thread may have a loop of its own
            portal.call(pooler.check, settings)
        return migrate.upgrade(settings.database(), user_name())


def note(settings: Settings, api: str) -> None:
    """Note in the audit that a Prefect server is about to be set up."""
    with connected(settings) as connection:
        audit.record(connection, Author(user_name()), "bootstrap", api)


def prefect_database(settings: Settings) -> str:
    """URL of the local Prefect server's own database, on the same PostgreSQL as ours."""
    url = make_url(settings.database()).set(drivername="postgresql+asyncpg", database="prefect")
    rendered: str = url.render_as_string(hide_password=False)
    return rendered


def create_prefect_database(settings: Settings) -> None:
    """Create the local Prefect server's database if it is missing."""
    url = make_url(settings.database()).set(database="prefect")
    with answering(settings):
        migrate.create_database(url.render_as_string(hide_password=False))


def owner(settings: Settings) -> str:
    """The description of the work pool: it names our database, so that all its users share one."""
    with connected(settings) as connection:
        return pool_owner.description(connection)


def register_pool(api_url: str, description: str | None = None) -> str:
    """Create or update the work pool and its queues on a Prefect server."""
    queues = read_prefect_yaml().queues
    with prefect_server.client(api_url) as client:
        _pool(client, description)
        _queues(client, queues)
        stranded_runs.fail(client)
    return ", ".join(f"{name} {rank}" for name, rank in queues.items())


def _pool(client: SyncPrefectClient, description: str | None) -> None:
    template = AutoindexWorker.get_default_base_job_template()
    try:
        pool: WorkPool = client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(
                name=POOL,
                type=AutoindexWorker.type,
                base_job_template=template,
                description=description,
            )
        )
        return
    if pool.type != AutoindexWorker.type:
        raise ConfigurationError(
            f"the work pool {POOL} is of type {pool.type}, not {AutoindexWorker.type}; Prefect "
            f"cannot change that: delete it with `prefect work-pool delete {POOL}` and try again"
        )
    if pool.base_job_template != template:  # made by an earlier version
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
    if description not in (None, pool.description):
        client.update_work_pool(POOL, WorkPoolUpdate(description=description))


def _queues(client: SyncPrefectClient, wanted: Mapping[str, int]) -> None:
    for name, priority in sorted(wanted.items(), key=lambda item: item[1]):
        queue = _read_queue(client, name)
        if queue is None:
            queue = client.create_work_queue(name, priority=priority, work_pool_name=POOL)
        if queue.priority != priority:
            client.update_work_queue(queue.id, priority=priority)
    # Moving one queue shifts the others, so the result is checked.
    found = {name: _read_queue(client, name) for name in wanted}
    priorities = {name: queue.priority if queue else None for name, queue in found.items()}
    if priorities != dict(wanted):
        raise ConfigurationError(f"work queues are {priorities}, not {wanted} as in prefect.yaml")


def _read_queue(client: SyncPrefectClient, name: str) -> WorkQueue | None:
    try:
        return client.read_work_queue_by_name(name, work_pool_name=POOL)
    except ObjectNotFound:
        return None


def deploy(env: Mapping[str, str], api_url: str, *, reset_schedules: bool = False) -> str:
    """Apply the deployments of `prefect.yaml` by Prefect's own command; a sentence with the result.

    Schedules that were changed in Prefect stay, unless they are to be reset.
    """
    with prefect_server.client(api_url) as client:
        stored, kept = kept_schedules.keep(client)
    content = kept_schedules.default() if reset_schedules else stored
    with TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(content))
        done = subprocess.run(
            [*_DEPLOY, "--prefect-file", str(file)],
            cwd=PROJECT,
            env={**env, "NO_COLOR": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise ConfigurationError(f"`prefect deploy --all` failed:\n{done.stdout}{done.stderr}")
    deployed = ", ".join(entry["name"] for entry in content["deployments"])
    if not kept or reset_schedules:
        return deployed
    return f"{deployed}; schedules that differ from prefect.yaml are kept: {', '.join(kept)}"
