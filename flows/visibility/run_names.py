"""Names of flow runs: what a run does, and for which time. Prefect calls these at its start."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

from prefect.runtime import flow_run

from autoindex import sessions
from autoindex.settings import Settings

_NAMED: Final = 3


def refresh() -> str:
    """As in "smart refresh to 2022-12-28", or "full refresh of AAPL, KO to 2022-12-28"."""
    return f"{_parameter('mode', 'smart')} refresh{_of(_parameter('symbols'))} to {_session()}"


def compute() -> str:
    """As in "composite monthly index from 2020-01-02 to 2022-12-28"."""
    start, end = _parameter("start_date"), _parameter("end_date")
    since = f" from {start}" if start else ""
    which = f"{_parameter('strategy', 'composite')} {_parameter('frequency', 'monthly')}"
    return f"{which.replace('_', ' ')} index{since} to {end or _session()}"


def report() -> str:
    """As in "weekly report as pdf to 2022-12-28"."""
    return f"{_parameter('report_type')} report as {_parameter('format')} to {_session()}"


def cleanup() -> str:
    """As in "cleanup before 2021-12-28", or "dry run of cleanup before 2021-12-28"."""
    before: date = Settings().now().date() - timedelta(days=int(_parameter("older_than_days", 365)))
    name = f"cleanup before {before}"
    return f"dry run of {name}" if _parameter("dry_run", True) else name


def _parameter(name: str, default: object = None) -> Any:
    found = (flow_run.parameters or {}).get(name)
    return default if found is None else getattr(found, "value", found)


def _session() -> date:
    return sessions.last_closed(Settings().now())


def _of(symbols: Sequence[str] | None) -> str:
    if not symbols:
        return ""
    return f" of {', '.join(symbols[:_NAMED])}" + (", …" if len(symbols) > _NAMED else "")
