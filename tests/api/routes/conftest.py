"""A Prefect server as its worker sees it, and a user of one test."""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from tests.api.stages import PrefectStage
from tests.bounds import HANG_SECONDS


@pytest.fixture
async def stage(prefect_url: str) -> AsyncIterator[PrefectStage]:
    """Moves runs on the Prefect server from state to state."""
    async with httpx.AsyncClient(
        base_url=prefect_url, timeout=HANG_SECONDS, trust_env=False
    ) as opened:
        yield PrefectStage(opened)


@pytest.fixture
def user() -> str:
    """A user whom no other test knows."""
    return f"eve-{uuid4().hex[:8]}"
