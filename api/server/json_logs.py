"""The facade's log: one JSON object a line, each with the id of the request it belongs to."""

import logging
import sys
from contextvars import ContextVar
from typing import Final

from pythonjsonlogger.json import JsonFormatter

request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)

# It logs each request to Prefect.
_QUIET: Final = ("httpx",)
# They have handlers of their own.
_SERVERS: Final = ("uvicorn", "uvicorn.error")


class _Request(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


def install() -> None:
    """Log as JSON to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Request())
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{name}{message}{request_id}",
            style="{",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp=True,
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # No line shows these: https://docs.python.org/3/howto/logging.html#optimization
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SERVERS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
