"""A short outage under one task; `python -m tests.end_to_end.outages` strikes everywhere."""

import pytest

from deployments.local.stack import Stack
from tests.end_to_end.conftest import App
from tests.end_to_end.outages import Strike, holding, strike

SECONDS = 4.0


@pytest.mark.chaos
@pytest.mark.usefixtures("refreshed")
def test_a_refresh_outlasts_a_restart_of_postgresql(app: App, stack: Stack) -> None:
    body = {"mode": "full", "force": True, "symbols": ["AAPL"]}
    with holding(stack):
        (end,) = strike(stack, app, [Strike("refresh", body, "upsert")], SECONDS)
    assert end["status"] == "success", end
