"""Serve the facade: `python -m api`, with the settings of the environment."""

import asyncio
import os
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI

from api.app import application, create_app
from api.monitoring.prometheus import FOLDER
from api.server.http_protocol import GuardedProtocol
from api.server.middleware import LARGEST_HEAD_BYTES
from autoindex.errors import ConfigurationError, PartUnavailable
from autoindex.settings import Settings
from autoindex.storage.postgres import pooler

# Requests that wait for a task are answered at once; this is for slow downloads.
_SHUTDOWN_SECONDS = 10
# One of several processes that does not respond for so long is restarted. It does not respond while
# it loads its modules, which takes a busy machine much longer than uvicorn's 5 seconds.
_HEALTHCHECK_SECONDS = 120


def main() -> None:
    """Serve until a signal."""
    os.umask(0o077)
    _allow_connections()
    try:
        settings = Settings()
        _check_port(settings)
        with suppress(PartUnavailable):  # it starts without a database, and /ready reports it
            asyncio.run(pooler.check(settings))
        if settings.api_processes == 1:
            _serve(partial(application, settings), settings)
            return
        # uvicorn would restart a process that cannot start again and again.
        create_app(settings)
    except ConfigurationError as error:
        raise SystemExit(f"the facade does not start: {error}") from error
    with TemporaryDirectory(prefix="autoindex-metrics-") as folder:
        # For the processes that uvicorn starts.
        os.environ[FOLDER] = folder
        _serve("api.app:application", settings)


def _serve(app: str | Callable[[], FastAPI], settings: Settings) -> None:
    uvicorn.run(
        app,
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        workers=settings.api_processes,
        http=GuardedProtocol,
        ws="none",
        h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        timeout_worker_healthcheck=_HEALTHCHECK_SECONDS,
        server_header=False,
        access_log=False,
    )


def _check_port(settings: Settings) -> None:
    """Raise `ConfigurationError` where the port cannot be used; uvicorn would not say why."""
    host, port = settings.api_host, settings.api_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise ConfigurationError(
            f"AUTOINDEX_API_HOST {host} with AUTOINDEX_API_PORT {port}: {error.strerror}"
        ) from error


def _allow_connections() -> None:
    """Raise the limit of open files to the system's: each client that waits needs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
