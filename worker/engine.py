"""Prefect's engine as a run's process uses it: the one module that imports Prefect's private parts.

If the import fails, `worker.run` uses Prefect's own engine. Prefect's version is pinned in
`pyproject.toml`. These are the private parts in use; tests/worker/test_engine.py checks that each
exists, with the signature we expect, and that the list is complete:

    in this module
        observe_flow_run_suspension   replaced: a run would wait a tenth of a second for it, twice
        control_listener._set_intent  a run that was told to stop leaves its state to the worker
        _httpx_settings, _client      one client a run, with certificates that were loaded once;
                                      the worker's takes a proxy's page for no answer
        _transport_for_url            of httpx: an absent server is asked again each second
    overridden by the worker
        _get_scheduled_flow_runs      a poll is asked once, and the longest-waiting run goes first
        _submit_run                   a claim that fails is no reason to end the worker
        _propose_crashed_state        a run that could not be started has another attempt
        _propose_submitting_state     one request less for each start
    used by the worker
        _release_limit_slot, _submitting_flow_run_ids   where a claim fails
        _work_pool, _work_pool_name, _work_queues       which pool and queues it serves
        _worker_channel               a worker without a database sends no heartbeat
        _logger
"""

import contextvars
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, Never

import certifi
import prefect.flow_engine
from prefect import Flow
from prefect._flow_run_suspension import observe_flow_run_suspension
from prefect._internal import control_listener
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import SettingsContext, SyncClientContext, get_settings_context
from prefect.engine import handle_engine_signals
from prefect.exceptions import TerminationSignal
from prefect.flow_engine import load_flow, run_flow
from prefect.logging.loggers import flow_run_logger
from prefect.settings import (
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    Settings,
)

from worker.outages import RetryingSend
from worker.run_spec import RunSpec

ENTRYPOINT: Final = "PREFECT__FLOW_ENTRYPOINT"
_PREFIX: Final = "PREFECT_"


def _set() -> dict[str, str]:
    """Prefect's settings in the environment, without what concerns one run."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_PREFIX) and not name.startswith("PREFECT__")
    }


_READ: Final = _set()
# Not an Event: a second signal, while the first one holds its lock, would wait for ever.
_told_to_stop: Final[list[int]] = []


def run(spec: RunSpec) -> None:
    """Run the flow run of a spec as `python -m prefect.engine` would; may end in `SystemExit`."""
    with _settings(), handle_engine_signals(spec.task_id), _client() as client:
        flow_run = client.read_flow_run(spec.task_id)
        flow = _flow(spec, flow_run)
        run_flow(flow, flow_run=flow_run, return_type="state")


def call_failure_hooks(spec: RunSpec) -> None:
    """Call what a flow wants to be called when a run of it has failed for good.

    For a run whose process is gone: the engine that would have called them was in it.
    """
    with _settings(), _client() as client:
        flow_run = client.read_flow_run(spec.task_id)
        flow, state = _flow(spec, flow_run), flow_run.state
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
    _told_to_stop.append(signum)
    control_listener._set_intent("relinquish")
    raise TerminationSignal(signal=signum)


def watch_states(allowed: Callable[[], None]) -> None:
    """Have `allowed` called before this process proposes any state of a flow run.

    One that was told to stop proposes none: it ends at once, its last lines unsent. Prefect's
    engine, where the signal meets it between two of its own steps, makes an ordinary error of it,
    and would call the run failed.
    """
    propose = SyncPrefectClient.set_flow_run_state

    def checked(
        self: SyncPrefectClient, flow_run_id: Any, state: State[Any], force: bool = False
    ) -> Any:
        if _told_to_stop:
            os._exit(0)
        allowed()
        return propose(self, flow_run_id, state, force)

    SyncPrefectClient.set_flow_run_state = checked  # type: ignore[method-assign, assignment]


@contextmanager
def _watch_for_suspension(*args: Any) -> Iterator[None]:
    """Prefect's watch for a run that is suspended, of which it waits for neither begin nor end.

    Both take a tenth of a second, in which the run holds a slot; a run that is suspended before
    the watch has begun is found by its poll.
    """
    done = threading.Event()

    def watch() -> None:
        with observe_flow_run_suspension(*args):
            done.wait()

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(watch,), daemon=True).start()
    try:
        yield
    finally:
        done.set()


prefect.flow_engine.observe_flow_run_suspension = _watch_for_suspension  # type: ignore[attr-defined, assignment]


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


@lru_cache(maxsize=1)
def certificates() -> ssl.SSLContext:
    """The authorities a client trusts; to load them takes a tenth of a second a time."""
    return ssl.create_default_context(cafile=certifi.where())


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """One client for the whole run, where Prefect would make one for each part of it."""
    chosen = PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value() or PREFECT_API_SSL_CERT_FILE.value()
    context = SyncClientContext(None if chosen else {"verify": certificates()})
    # Prefect hands a context's client to those only who ask for the same settings: for none.
    context._httpx_settings = None
    http = context.client._client
    transport = http._transport_for_url(http.base_url)
    ready = http.build_request("GET", "/ready")
    transport.handle_request = RetryingSend(transport.handle_request, ready)  # type: ignore[method-assign]
    with context:
        yield context.client


def _flow(spec: RunSpec, flow_run: FlowRun) -> Flow[..., Any]:
    if spec.entrypoint is not None:
        os.environ[ENTRYPOINT] = spec.entrypoint
    return load_flow(flow_run)
