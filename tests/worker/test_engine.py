"""The private parts of Prefect that the worker uses: these fail when Prefect changes them."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import prefect
import prefect.engine
import prefect.flow_engine
import pytest
from prefect import _flow_run_suspension
from prefect._internal import control_listener
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import SyncClientContext
from prefect.exceptions import TerminationSignal
from prefect.utilities import engine as engine_utilities
from prefect.workers.base import BaseWorker

from worker import engine
from worker.prefect_yaml import PROJECT

ROOMS = ("worker", "flows", "api", "deployments")
FUNCTIONS = [
    (
        _flow_run_suspension,
        "observe_flow_run_suspension",
        ["flow_run_id", "suspension_request", "polling_interval"],
    ),
    (control_listener, "_set_intent", ["value"]),
    (httpx.Client, "_transport_for_url", ["self", "url"]),
    (BaseWorker, "_get_scheduled_flow_runs", ["self"]),
    (BaseWorker, "_submit_run", ["self", "flow_run"]),
    (BaseWorker, "_propose_crashed_state", ["self", "flow_run", "message", "client"]),
    (BaseWorker, "_propose_submitting_state", ["self", "flow_run"]),
    (BaseWorker, "_release_limit_slot", ["self", "flow_run_id"]),
    # Public, but replaced or called in the engine's stead.
    (SyncPrefectClient, "set_flow_run_state", ["self", "flow_run_id", "state", "force"]),
    (SyncClientContext, "__init__", ["self", "httpx_settings"]),
    (prefect.flow_engine, "load_flow", ["flow_run"]),
    (prefect.engine, "handle_engine_signals", ["flow_run_id"]),
    (BaseWorker, "run", ["self", "flow_run", "configuration", "task_status"]),
    (BaseWorker, "get_and_submit_flow_runs", ["self"]),
    (BaseWorker, "sync_with_backend", ["self"]),
]
ATTRIBUTES = [
    (BaseWorker, "_submitting_flow_run_ids"),
    (BaseWorker, "_work_pool"),
    (BaseWorker, "_work_pool_name"),
    (BaseWorker, "_work_queues"),
    (BaseWorker, "_worker_channel"),
    (BaseWorker, "_logger"),
    (SyncPrefectClient, "_client"),
]
OTHERS = {"_httpx_settings"}
BASE_SOURCE = inspect.getsource(BaseWorker)
# Where Prefect calls what we override or replace.
CALLS = [
    (BaseWorker, "workload=self.get_and_submit_flow_runs"),
    (BaseWorker, "await self.sync_with_backend()"),
    (BaseWorker, "await self._get_scheduled_flow_runs()"),
    (BaseWorker, "self._submit_run,"),
    (BaseWorker, "self._propose_submitting_state(flow_run)"),
    (BaseWorker, "self._propose_crashed_state(flow_run, message)"),
    (BaseWorker, "self._limiter.acquire_on_behalf_of_nowait(flow_run.id)"),
    (engine_utilities, "client.set_flow_run_state,"),
    (
        prefect.flow_engine.BaseFlowRunEngine.setup_flow_run_suspension_request,
        "observe_flow_run_suspension(",
    ),
]


def test_prefect_is_the_version_that_was_read() -> None:
    assert prefect.__version__ == "3.9.1"
    assert '"prefect==3.9.1"' in (PROJECT / "pyproject.toml").read_text()


@pytest.mark.parametrize(("owner", "name", "expected"), FUNCTIONS)
def test_a_function_has_the_parameters_we_expect(
    owner: Any, name: str, expected: list[str]
) -> None:
    function = getattr(owner, name, None)
    assert function is not None, f"Prefect has no {owner.__name__}.{name} any more"
    found = list(inspect.signature(function).parameters)
    assert found == expected, f"the parameters of {owner.__name__}.{name} have changed"


@pytest.mark.parametrize(("owner", "name"), ATTRIBUTES)
def test_an_attribute_is_still_set(owner: type, name: str) -> None:
    message = f"Prefect has no {owner.__name__}.{name} any more"
    assert f"self.{name}" in inspect.getsource(owner), message


@pytest.mark.parametrize(("owner", "call"), CALLS)
def test_prefect_still_calls_what_we_replace(owner: Any, call: str) -> None:
    assert call in inspect.getsource(owner), f"{owner.__name__} no longer calls {call}"


def test_a_run_s_client_can_be_shared_whatever_its_settings() -> None:
    assert "_httpx_settings" in SyncClientContext.__private_attributes__
    assert {"flow", "flow_run", "return_type"} <= set(
        inspect.signature(prefect.flow_engine.run_flow).parameters
    )


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


def test_every_private_part_in_use_is_listed_and_checked() -> None:
    checked = {entry[1] for entry in FUNCTIONS + ATTRIBUTES if private(entry[1])} | OTHERS
    used = {name for path in sources() for name in private_names(path)}
    listed = set(re.findall(r"(?<!\w)_[a-z]\w*", engine.__doc__ or ""))
    assert used == checked
    assert listed == checked


def test_private_modules_of_prefect_are_imported_in_one_place() -> None:
    found = {
        path.name
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported(node)
        if name.startswith("prefect") and "._" in name
    }
    assert found == {"engine.py"}


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from (PROJECT / room).rglob("*.py")


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(path: Path) -> Iterator[str]:
    """Names of Prefect's that a module uses: of its worker, or of anything but its own objects."""
    ours = {"_exit", "_mapping", "_shutdown"}  # of os, SQLAlchemy and threading
    base = BASE_SOURCE if path.name == "autoindex_worker.py" else ""
    for node in ast.walk(ast.parse(path.read_text())):
        name = getattr(node, "attr", None) or getattr(node, "name", None) or ""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        if not private(name) or name in ours:
            continue
        is_own = not isinstance(node, ast.Attribute) or is_self(node.value)
        if not is_own or re.search(rf"(self\.|def |    ){name}\b", base):
            yield name


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
