"""Whose turn it is."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse

from flows.attempts.attempt import AWAITING_TURN
from worker.priority import MAX_WAIT, by_priority

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def waiting(minutes: float) -> WorkerFlowRunResponse:
    run = FlowRun(
        id=uuid4(), flow_id=uuid4(), next_scheduled_start_time=NOW - timedelta(minutes=minutes)
    )
    return WorkerFlowRunResponse(work_pool_id=uuid4(), work_queue_id=uuid4(), flow_run=run)


def ids(entries: list[WorkerFlowRunResponse]) -> list[UUID]:
    return [entry.flow_run.id for entry in entries]


def test_the_server_s_order_stands_while_nobody_waits_for_long() -> None:
    entries = [waiting(1), waiting(14), waiting(3)]
    assert ids(by_priority(entries, NOW)) == ids(entries)


def test_who_has_waited_for_too_long_goes_first_the_longest_waiting_of_all() -> None:
    high, low, lower = waiting(1), waiting(16), waiting(60)
    assert ids(by_priority([high, low, lower], NOW)) == ids([lower, low, high])
    assert timedelta(minutes=14) < MAX_WAIT < timedelta(minutes=16)


def test_a_run_that_has_looked_whether_it_is_its_turn_has_waited_since_it_was_asked_for() -> None:
    new, looked_again = waiting(1), waiting(0)
    looked_again.flow_run.state_name = AWAITING_TURN
    looked_again.flow_run.expected_start_time = NOW - timedelta(minutes=20)
    assert ids(by_priority([new, looked_again], NOW)) == ids([looked_again, new])


def test_a_run_that_is_named_twice_gets_one_turn() -> None:
    one, other = waiting(1), waiting(2)
    assert ids(by_priority([one, other, one], NOW)) == ids([one, other])
