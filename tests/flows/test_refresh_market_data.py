"""The subtasks of a refresh as functions, on a real database."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from autoindex.errors import ConfigurationError
from autoindex.requests import RefreshRequest
from autoindex.settings import Settings
from autoindex.storage.cache import from_settings
from flows import refresh_market_data as refresh
from flows.attempts.refresh_progress import RefreshProgress
from flows.attempts.runtime import Runtime

NOW = datetime(2022, 12, 28, 22, tzinfo=UTC)


def test_an_empty_universe_says_how_to_fill_it(engine: Engine, settings: Settings) -> None:
    run = Runtime(settings, engine, from_settings(settings), NOW, uuid4())
    with pytest.raises(ConfigurationError, match="autoindex universe import"):
        refresh.resolve_symbols.fn(run, RefreshRequest(), RefreshProgress())
