"""`autoindex index`: what was published, when and why."""

from datetime import date

from rich.table import Table

from autoindex.errors import InvalidRequest
from autoindex.requests import Frequency, Strategy
from autoindex.settings import Settings
from autoindex.storage.index import level_versions
from deployments.database_connection import connected


def history(settings: Settings, strategy: Strategy, frequency: Frequency, session: date) -> Table:
    """Every version of the level of one session, oldest first; raises `InvalidRequest`."""
    with connected(settings) as connection:
        made = level_versions.history(connection, strategy, frequency, session)
    if not made:
        raise InvalidRequest("SESSION", f"no level of {strategy} {frequency} has this session")
    shown = Table("version", "level", "status", "published at (UTC)", "why", "task")
    for one in made:
        task = "" if one.task_id is None else str(one.task_id)
        instant = f"{one.published_at:%Y-%m-%d %H:%M:%S}"
        status = f"provisional, without {', '.join(one.missing)}" if one.missing else "final"
        shown.add_row(str(one.version), f"{one.level:,.6f}", status, instant, one.cause, task)
    return shown
