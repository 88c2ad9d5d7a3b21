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

# Those who wait for a task are told at once that the facade stops; this is for slow downloads.
_SHUTDOWN_SECONDS = 10
# One of several processes that says nothing for so long is started again. It says nothing while it
# loads its modules, which takes a busy machine much longer than uvicorn's 5 seconds.
_HEALTHCHECK_SECONDS = 120


def main() -> None:
    """Serve until a signal."""
    os.umask(0o077)
    _allow_connections()
    try:
        settings = Settings()
        _check_port(settings)
        with suppress(PartUnavailable):  # it starts without a database, and says so at /ready
            asyncio.run(pooler.check(settings))
        if settings.api_processes == 1:
            _serve(partial(application, settings), settings)
            return
        # One of several that cannot start would be started again for ever.
        create_app(settings)
    except ConfigurationError as error:
        raise SystemExit(f"the facade does not start: {error}") from error
    with TemporaryDirectory(prefix="autoindex-metrics-") as folder:
        # For those that are started from here.
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
    """Raise `ConfigurationError` where nobody can listen there; uvicorn would not say why."""
    host, port = settings.api_host, settings.api_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise ConfigurationError(
            f"AUTOINDEX_API_HOST {host} with AUTOINDEX_API_PORT {port}: {error.strerror}"
        ) from error


def _allow_connections() -> None:
    """As many files as the system lets us open: each client that waits is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
