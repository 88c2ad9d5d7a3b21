"""What a real run shows of a secret that its errors hold: nothing, in state, logs and results."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import UUID

import pytest
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from sqlalchemy import Engine, text

from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from tests.flows.conftest import Worker

KEY = "0123456789abcdef"
TABLES = ("task_progress", "task_lines", "task_results", "checkpoints")


@pytest.fixture
def echo() -> Iterator[str]:
    """A provider that refuses every call, and says with which key it came."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = f"{self.headers['Authorization']} is wrong, see ?apikey={KEY}"
            body = json.dumps({"code": 401, "message": said, "status": "error"}).encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def told(worker: Worker, engine: Engine, run: UUID) -> str:
    """Everything that anybody may read of a run, in Prefect and in our database."""
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    read = f"logs?{worker.client.read_logs(chosen)}{worker.client.read_flow_run_states(run)}"
    with engine.connect() as connection:
        rows = [connection.execute(text(f"table {table}")).all() for table in TABLES]
    tables = worker.client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    )
    return f"{read}{rows}{tables}"


def test_an_error_that_holds_the_key_is_masked(worker: Worker, engine: Engine) -> None:
    deployment = worker.deploy("tests.flows.leaking.leaking", "leaking")
    run = worker.ask(deployment)
    env = {"AUTOINDEX_TWELVE_DATA_API_KEY": f"{KEY}\r\n"}
    ended = worker.run(run, env)
    assert ended.state is not None
    assert "Illegal header value b'apikey ***" in str(ended.state.message)
    said = told(worker, engine, run.id)
    assert "asking with ***" in said
    assert "ValueError: Illegal header value" in said
    assert KEY not in said


def test_a_result_that_holds_the_key_is_masked(worker: Worker, engine: Engine) -> None:
    run = worker.ask(worker.deploy("tests.flows.leaking.leaking", "leaking"), succeed=True)
    ended = worker.run(run, {"AUTOINDEX_TWELVE_DATA_API_KEY": KEY})
    assert ended.state_name == "Completed"
    said = told(worker, engine, run.id)
    assert "'AUTOINDEX_TWELVE_DATA_API_KEY': '***'" in said
    assert '"reason": "***"' in said
    assert KEY not in said


def test_a_provider_that_repeats_the_key_is_refused_at_once(
    worker: Worker, engine: Engine, echo: str
) -> None:
    with engine.begin() as connection:
        row = UniverseRow(symbol="KO", exchange="NYSE", currency="USD", name="Coca-Cola")
        import_universe(connection, [row])
    run = worker.ask(worker.deploy("flows.refresh_market_data.refresh_market_data", "echo"))
    env = {
        "AUTOINDEX_TWELVE_DATA_API_KEY": KEY,
        "AUTOINDEX_TWELVE_DATA_BASE_URL": echo,
        "AUTOINDEX_CLOCK": "2022-12-28T22:00:00Z",
    }
    ended = worker.run(run, env)
    assert ended.state is not None
    assert "apikey *** is wrong, see ?apikey=***" in str(ended.state.message)
    assert KEY not in told(worker, engine, run.id)
