"""The page for people on the whole stack: from a click to a report's file."""

from datetime import timedelta
from pathlib import Path

import pytest

from api.auth import tokens
from deployments.local.stack import Stack
from tests.browser import browser, new_tab
from tests.end_to_end.conftest import Task

STARTED = "document.querySelector('#news').textContent.startsWith('Report generation task queued')"
FIRST_REPORT = "document.querySelector('#report-rows button[aria-label*=quarterly]')"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_report_is_made_and_read(stack: Stack, refreshed: Task, tmp_path: Path) -> None:
    scopes = ("tasks:read", "tasks:run")
    token = tokens.mint(stack.settings, "reader", scopes, lifetime=timedelta(hours=1))
    with browser() as port:
        async with new_tab(port) as tab:
            await tab.open(f"{stack.api_url}/#token={token}")
            await tab.until("document.querySelector('#chart path')")
            assert "Max drawdown" in await tab.text("#figures")
            assert "Technology" in await tab.text("#weights")
            link = await tab.evaluate("document.querySelector('#prefect').href")
            assert link.rstrip("/") == stack.prefect_url
            await tab.evaluate("document.querySelector('[name=report_type]').value = 'quarterly'")
            await tab.click("#report-form button")
            await tab.until(STARTED)
            await tab.until(FIRST_REPORT)
            name, content = await tab.download("#report-rows button", tmp_path)
            assert tab.errors == []
    assert name.endswith(".pdf")
    assert content.startswith(b"%PDF-")
