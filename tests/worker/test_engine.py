"""The private parts of Prefect that the worker stands on: these fail when Prefect changes them."""

import ast
import inspect
from pathlib import Path

import prefect
import prefect.engine
import prefect.flow_engine
import pytest
from prefect._internal import control_listener
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import SyncClientContext
from prefect.exceptions import TerminationSignal
from prefect.utilities import engine as engine_utilities
from prefect.workers.base import BaseWorker

import worker
from worker.prefect_yaml import PROJECT

FOLDER = Path(worker.__file__).parent


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_prefect_is_the_version_that_was_read() -> None:
    assert prefect.__version__ == "3.9.1"
    assert '"prefect==3.9.1"' in (PROJECT / "pyproject.toml").read_text()


def test_the_engine_has_the_pieces_that_a_run_uses() -> None:
    assert "observe_flow_run_suspension(" in inspect.getsource(
        prefect.flow_engine.BaseFlowRunEngine.setup_flow_run_suspension_request
    )
    assert parameters(SyncClientContext.__init__) == ["self", "httpx_settings"]
    assert "_httpx_settings" in SyncClientContext.__private_attributes__
    assert parameters(prefect.flow_engine.load_flow) == ["flow_run"]
    assert {"flow", "flow_run", "return_type"} <= set(parameters(prefect.flow_engine.run_flow))
    assert parameters(prefect.engine.handle_engine_signals) == ["flow_run_id"]
    assert parameters(SyncPrefectClient.set_flow_run_state) == [
        "self",
        "flow_run_id",
        "state",
        "force",
    ]
    assert "client.set_flow_run_state," in inspect.getsource(engine_utilities)


def test_a_relinquished_run_proposes_no_state_of_its_own() -> None:
    assert "relinquish" in prefect.flow_engine._SUPERVISOR_OWNED_INTENTS
    try:
        control_listener._set_intent("relinquish")
        assert control_listener.get_intent() == "relinquish"
        with pytest.raises(SystemExit) as end, prefect.engine.handle_engine_signals():
            raise TerminationSignal(signal=12)
        assert end.value.code in (0, None)
    finally:
        control_listener.clear_intent()


def test_the_worker_s_base_class_has_what_is_built_upon() -> None:
    source = inspect.getsource(BaseWorker)
    for piece in (
        "def get_and_submit_flow_runs(self)",
        "def _get_scheduled_flow_runs(",
        "self._get_scheduled_flow_runs()",
        "self._propose_submitting_state(flow_run)",
        "self._propose_crashed_state(flow_run, message)",
        "self._mark_flow_run_as_cancelled(\n",
        "self._submit_run,",
        "workload=self._sync_and_initialize",
        "self._submitting_flow_run_ids",
        "self._has_successfully_synced",
        "self._last_polled_time",
        "self._limiter.acquire_on_behalf_of_nowait(flow_run.id)",
    ):
        assert piece in source, piece
    assert parameters(BaseWorker.run) == ["self", "flow_run", "configuration", "task_status"]


def test_private_modules_of_prefect_are_imported_in_one_place() -> None:
    found = {
        path.name
        for path in PROJECT.joinpath("worker").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported(node)
        if name.startswith("prefect") and "._" in name
    }
    assert found == {"engine.py"}


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
