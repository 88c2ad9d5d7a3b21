"""How long it takes until what ran on a host that has lost its power runs elsewhere."""

import time
from typing import Final

from sqlalchemy import text

from tests.bounds import HANG_SECONDS
from tests.end_to_end.chaos.hosts import Host
from tests.end_to_end.chaos.stage import Stage

_PROVIDER_SECONDS: Final = 20
_LONG: Final = {"mode": "full", "force": True, "symbols": ["AAPL", "KO"]}


def measured(stage: Stage) -> float:
    """Seconds from a host's death to the task's next `Running`, in the calm."""
    stage.provider_faults([{"kind": "delay", "seconds": _PROVIDER_SECONDS}])
    task_id = stage.app.post("refresh", _LONG)
    stage.app.until(task_id, lambda task: task["status"] == "started")
    host = _holder(stage, task_id)
    began, starts = time.monotonic(), _starts(stage, task_id)
    host.network.cut()
    host.worker.kill()
    while _starts(stage, task_id) == starts:
        assert time.monotonic() - began < HANG_SECONDS, "never taken over"
        time.sleep(0.1)
    took = time.monotonic() - began
    stage.provider_faults([])
    host.network.heal()
    host.worker.start()
    ended = stage.app.until(task_id, lambda task: task["status"] in ("success", "failure"))
    assert ended["status"] == "success", ended
    return took


def _holder(stage: Stage, task_id: str) -> Host:
    query = text("select holder from leases where task_id = :task_id")
    with stage.engine.connect() as connection:
        holder = str(connection.scalar(query, {"task_id": task_id}))
    (host,) = [one for one in stage.hosts if holder.endswith(f"process {one.worker.child.pid}")]
    return host


def _starts(stage: Stage, task_id: str) -> int:
    """How often it has been Running."""
    with stage.prefect_client() as prefect:
        states = prefect.get("flow_run_states/", params={"flow_run_id": task_id}).json()
    return sum(state["type"] == "RUNNING" for state in states)
