"""The contract, tried by a program that reads it: no crash, no undocumented answer."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.app import create_app
from api.auth import tokens
from api.server.http_protocol import GuardedProtocol
from autoindex.settings import Settings
from tests.api.answers import EVERY_SCOPE
from tests.api.in_memory import InMemory

# 431 refuses more parameters than there are, before what they say is looked at.
_REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429", "431"]
_CHECKS = {"checks": {"negative_data_rejection": {"expected-statuses": _REFUSALS}}}


@pytest.fixture(scope="module")
def contract(api_settings: Settings, api_engine: Any) -> Iterator[Any]:
    """The schema of a facade that answers over a real socket."""
    runner = InMemory()
    runner.online.append("worker-1")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = create_app(api_settings, runner)
        server_config = uvicorn.Config(app, http=GuardedProtocol, ws="none", log_level="critical")
        server = uvicorn.Server(server_config)
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        # Nobody waits for a task to change: none does here.
        app.state.subscriptions.close()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/openapi.json"
        token = tokens.mint(api_settings, "ada", EVERY_SCOPE, timedelta(hours=1))
        config = SchemathesisConfig.from_dict(_CHECKS)
        headers = {"Authorization": f"Bearer {token}"}
        yield schemathesis.openapi.from_url(url, config=config, headers=headers)
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_answer_is_a_surprise(
    contract: Any, api_settings: Settings, mode: GenerationMode
) -> None:
    load_all_checks()
    token = tokens.mint(api_settings, "ada", EVERY_SCOPE, timedelta(hours=1))
    tried = set()
    for found in contract.get_all_operations():
        operation = found.ok()
        tried.add(operation.label)

        @given(case=operation.as_strategy(generation_mode=mode))
        @examples(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
        def answers_as_documented(case: Any) -> None:
            # What the schema allows may still be refused: symbols outside the universe, say.
            case.call_and_validate(
                headers={"Authorization": f"Bearer {token}"},
                excluded_checks=[positive_data_acceptance],
            )

        # What takes nothing cannot be asked for wrongly.
        with suppress(*([Unsatisfiable] if mode is GenerationMode.NEGATIVE else [])):
            answers_as_documented()
    assert len(tried) == 32
