"""Prefect's engine as a run's process uses it: the one module that imports Prefect's private parts.

Held to one version by `pyproject.toml`, and to its signatures by tests/deployments. Where the
import fails all the same, `deployments.worker.run` goes Prefect's own way.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Never

import httpx
from prefect import Flow
from prefect._internal import control_listener
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import SettingsContext, get_settings_context
from prefect.engine import handle_engine_signals
from prefect.exceptions import TerminationSignal
from prefect.flow_engine import load_flow, load_flow_run, run_flow
from prefect.logging.loggers import flow_run_logger
from prefect.settings import Settings

from deployments.worker.order import Order

ENTRYPOINT: Final = "PREFECT__FLOW_ENTRYPOINT"
_PREFIX: Final = "PREFECT_"
# A server that is restarted is away for longer; a run waits for it rather than dies.
_API_SECONDS: Final = 600.0


def _set() -> dict[str, str]:
    """Prefect's settings in the environment, without what concerns one run."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_PREFIX) and not name.startswith("PREFECT__")
    }


_READ: Final = _set()


def run(order: Order) -> None:
    """Run an order's flow run as `python -m prefect.engine` would; may end in `SystemExit`."""
    with _settings(), handle_engine_signals(order.task_id):
        flow_run = _flow_run(order)
        flow = _flow(order, flow_run)
        run_flow(flow, flow_run=flow_run, return_type="state")


def call_failure_hooks(order: Order) -> None:
    """Call what a flow wants to be called when a run of it has failed for good.

    For a run whose process is gone: the engine that would have called them was in it.
    """
    with _settings():
        flow_run = _flow_run(order)
        flow, state = _flow(order, flow_run), flow_run.state
        logger = flow_run_logger(flow_run=flow_run)
        if state is None:
            return
        for hook in flow.on_failure_hooks:
            try:
                hook(flow, flow_run, state)
            except Exception:
                logger.exception("the hook %s failed", getattr(hook, "__name__", hook))


def stop(signum: int) -> Never:
    """Unwind the run, and leave it to the worker to say how it has ended."""
    control_listener._set_intent("relinquish")
    raise TerminationSignal(signal=signum)


def watch_states(allowed: Callable[[], None]) -> None:
    """Have `allowed` called before this process proposes any state of a flow run."""
    propose = SyncPrefectClient.set_flow_run_state

    def checked(
        self: SyncPrefectClient, flow_run_id: Any, state: State[Any], force: bool = False
    ) -> Any:
        allowed()
        return propose(self, flow_run_id, state, force)

    SyncPrefectClient.set_flow_run_state = checked  # type: ignore[method-assign, assignment]


@contextmanager
def _settings() -> Iterator[None]:
    """The settings of this process's environment, which a fork has got after Prefect read its own.

    Without heartbeats: the lease says whether a run is alive, and the thread that sends them holds
    up the end of each run.
    """
    # To make them takes a tenth of a second; a fork mostly has what its parent has read.
    settings = get_settings_context().settings if _set() == _READ else Settings()
    flows = settings.flows.model_copy(update={"heartbeat_frequency": None})
    settings = settings.model_copy(update={"flows": flows})
    with SettingsContext(profile=get_settings_context().profile, settings=settings):
        yield


def _flow_run(order: Order) -> FlowRun:
    deadline = time.monotonic() + _API_SECONDS
    while True:
        try:
            return load_flow_run(order.task_id)
        except httpx.TransportError:
            # Prefect's client tries again only where it has been answered once before.
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _flow(order: Order, flow_run: FlowRun) -> Flow[..., Any]:
    if order.entrypoint is not None:
        os.environ[ENTRYPOINT] = order.entrypoint
    return load_flow(flow_run)
