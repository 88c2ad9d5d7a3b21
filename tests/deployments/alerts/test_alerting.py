"""Notices, from a real Prefect server to a real receiver."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Completed, Crashed, Failed, Running, Scheduled, State
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text

from autoindex.settings import Settings
from deployments.alerts import alerting
from deployments.alerts.alerting import Applied
from deployments.local.embedded_postgres import EmbeddedPostgres
from flows.visibility import events
from flows.visibility.finished_runs import TAG
from tests.bounds import HANG_SECONDS
from tests.prefect_server import Receiver
from worker import POOL
from worker.run_limits import LIMIT_EXCEEDED, LOST

GRACE = timedelta(seconds=10)  # Prefect takes no less


@flow(name="refresh-market-data")
def refresh() -> None:
    """Never run here: its runs are moved from state to state by hand."""


@flow(name="generate-report")
def report() -> None:
    """As above."""


@pytest.fixture(scope="module")
def api(prefect_api: str) -> str:
    return prefect_api


@pytest.fixture(scope="module")
def slack() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def slack_settings(slack: Receiver) -> Settings:
    return Settings(slack_webhook_url=SecretStr(f"http://{slack.address}/services/T0/B0/secret"))


@pytest.fixture(scope="module")
def prefect_database(api: str, server: EmbeddedPostgres) -> Iterator[Engine]:
    """What the server knows and its API does not tell."""
    made = create_engine(server.url("prefect_quick"))
    yield made
    made.dispose()


class Stage:
    """A worker, played on a real server."""

    def __init__(self, client: SyncPrefectClient, slack: Receiver, database: Engine) -> None:
        self.client = client
        self.database = database
        self.deployments = {one: self._deploy(one) for one in (refresh, report)}
        self.slack = slack

    def _deploy(self, one: object) -> UUID:
        flow_id = self.client.create_flow(one)  # type: ignore[arg-type]
        return self.client.create_deployment(
            flow_id, "only", work_pool_name=POOL, work_queue_name="default", tags=[TAG]
        )

    def begin(self, of: object, name: str) -> FlowRun:
        run = self.due(of, name)
        self.move(run, Running())
        return run

    def due(self, of: object, name: str) -> FlowRun:
        deployment = self.deployments[of]  # type: ignore[index]
        return self.client.create_flow_run_from_deployment(deployment, name=name, tags=[TAG])

    def move(self, run: FlowRun, *states: State) -> None:
        for state in states:
            self.client.set_flow_run_state(run.id, state, force=True)

    def tell(
        self, event: str, resource: str, reason: str = "", *, follows: str | None = None
    ) -> str:
        """Send an event; its id. Those of one instant may overtake each other: `follows` orders."""
        made = events.as_json(event, resource, [])
        made |= {"payload": {"reason": reason}, "follows": follows}
        self.client.request("POST", "/events", json=[made]).raise_for_status()
        return str(made["id"])

    def until_armed(self, notice: str, about: object) -> None:
        """Wait until a notice has seen the sign of health of a run or of another resource."""
        deadline = time.monotonic() + HANG_SECONDS
        while not self._is_armed(notice, about):
            assert time.monotonic() < deadline, f"{notice!r} has not heard of {about}"
            time.sleep(0.1)

    def _is_armed(self, notice: str, about: object) -> bool:
        query = text(
            "select count(*) from automation_bucket"
            " join automation on automation.id = automation_bucket.automation_id"
            " where automation.name = :name and cast(last_event as text) like :about"
        )
        words = {"name": f"Autoindex: {notice}", "about": f"%{about}%"}
        with self.database.connect() as connection:
            return bool(connection.execute(query, words).scalar_one())

    def heard(self, *words: str, seconds: float = HANG_SECONDS) -> str:
        """The one message with these words, once it has come."""
        deadline = time.monotonic() + seconds
        while not (found := self.told(*words)):
            assert time.monotonic() < deadline, f"no message with {words} in {self.slack.texts}"
            time.sleep(0.1)
        (only,) = found
        return only

    def told(self, *words: str) -> list[str]:
        """The messages with these words so far."""
        return [text for text in self.slack.texts if all(word in text for word in words)]


@pytest.fixture(scope="module")
def stage(
    api: str, slack: Receiver, slack_settings: Settings, prefect_database: Engine
) -> Iterator[Stage]:
    assert alerting.apply(slack_settings, api, GRACE).sentence.startswith("to Slack: 12 created")
    with SyncPrefectClient(api) as client:
        made = Stage(client, slack, prefect_database)
        alerting.arm(api, again=True)
        deadline = time.monotonic() + HANG_SECONDS
        while not alerting._armed(client):  # Prefect stores events some seconds later
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for notice, about in (
            *product(("a task failed", "a task is late"), made.deployments.values()),
            ("a queue is too old", events.queue_resource("default")),
            ("data are stale", events.DATA),
            ("credits nearly spent", events.CREDITS),
            ("a level is provisional", events.INDEX),
            ("a correction is pending", events.INDEX),
        ):
            made.until_armed(notice, about)
        yield made


def test_the_list_is_applied_once_and_keeps_what_was_switched_off(
    api: str, stage: Stage, slack_settings: Settings
) -> None:
    one = stage.client.read_automations_by_name("Autoindex: a task failed")[0]
    stage.client.pause_automation(one.id)
    unchanged = "to Slack: 0 created, 0 updated, 12 unchanged, 0 removed"
    assert alerting.apply(slack_settings, api, GRACE) == Applied(unchanged, changed=False)
    again = stage.client.read_automations_by_name("Autoindex: a task failed")[0]
    assert (again.id, again.enabled) == (one.id, False)
    stage.client.resume_automation(one.id)


def test_one_incident_gives_one_notice_with_task_reason_and_link(stage: Stage) -> None:
    first, second = (stage.begin(refresh, f"refresh {n}") for n in ("one", "two"))
    other = stage.begin(report, "weekly report as pdf")
    reason = 'Flow run encountered an exception: ProviderRefused: a "bad" key <&>'
    stage.move(first, Failed(message=reason))
    said = stage.heard("refresh-market-data failed")
    assert "refresh one" in said
    assert 'ProviderRefused: a "bad" key &lt;&amp;&gt;' in said
    assert f"/runs/flow-run/{first.id}|" in said
    stage.move(second, Failed(message=reason))
    stage.move(other, Failed(message="another task"))
    stage.heard("generate-report failed", "another task")
    assert not stage.told("failed", "refresh two")


@pytest.mark.parametrize("name", ["Failed", LIMIT_EXCEEDED, LOST])
def test_a_success_arms_the_next_notice_whatever_the_failure_is_called(
    stage: Stage, name: str
) -> None:
    good, bad = stage.begin(refresh, "good"), stage.begin(refresh, "bad again")
    stage.move(good, Completed())
    # Events of two runs may overtake each other.
    stage.until_armed("a task failed", good.id)
    stage.move(bad, Failed(name=name, message=f"{name} in the next incident"))
    stage.heard("refresh-market-data failed", f"{name} in the next incident")


def test_what_must_last_a_while_before_it_is_told(stage: Stage) -> None:
    taken_up, lost = stage.begin(refresh, "taken up"), stage.begin(refresh, "lost")
    stage.move(taken_up, Crashed(message="killed"), AwaitingRetry(scheduled_time=soon()))
    stage.move(lost, Crashed(message="exited with -9"))
    beat = {"name": "worker", "heartbeat_interval_seconds": 1}
    stage.client.request("POST", f"/work_pools/{POOL}/workers/heartbeat", json=beat)  # type: ignore[arg-type]
    late = stage.due(report, "late one")
    stage.move(late, Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=1)))
    assert "generate-report is late" in stage.heard("late one")
    assert "exited with -9" in stage.heard("refresh-market-data crashed", "lost")
    assert f"/work-pools/work-pool/{POOL}|" in stage.heard("no worker is online")
    assert not stage.told("crashed", "taken up")


@pytest.mark.parametrize(
    ("trouble", "health", "resource", "words"),
    [
        (events.QUEUE_TOO_OLD, events.QUEUE_MOVING, "autoindex.queue.default", "queue is too old"),
        (events.DATA_STALE, events.DATA_CURRENT, events.DATA, "data are stale"),
        (events.CREDITS_NEARLY_SPENT, events.CREDITS_LEFT, events.CREDITS, "credits nearly spent"),
        (events.LEVELS_PROVISIONAL, events.LEVELS_FINAL, events.INDEX, "level is provisional"),
        (
            events.CORRECTION_PENDING,
            events.NO_CORRECTION_PENDING,
            events.INDEX,
            "correction is pending",
        ),
    ],
)
def test_what_the_watch_has_seen(
    stage: Stage, trouble: str, health: str, resource: str, words: str
) -> None:
    first = stage.tell(trouble, resource, "first")
    stage.heard(words, "first")
    still = stage.tell(trouble, resource, "still", follows=first)
    well = stage.tell(health, resource, follows=still)
    stage.tell(trouble, resource, "again", follows=well)
    stage.heard(words, "again")
    assert not stage.told(words, "still")


def test_each_change_of_published_levels_is_told(stage: Stage) -> None:
    first = stage.tell(events.LEVELS_CHANGED, events.INDEX, "one change")
    stage.tell(events.LEVELS_CHANGED, events.INDEX, "another change", follows=first)
    for change in ("one change", "another change"):
        stage.heard("published levels changed", change)


def test_each_suspicious_close_is_told_once(stage: Stage) -> None:
    one, other = (events.close_resource(symbol, "2022-12-28") for symbol in ("GE", "KO"))
    told = stage.tell(events.CLOSE_SUSPICIOUS, one, "GE first")
    stage.heard("a close is suspicious", "GE first")
    still = stage.tell(events.CLOSE_SUSPICIOUS, one, "GE still", follows=told)
    stage.tell(events.CLOSE_SUSPICIOUS, other, "KO", follows=still)
    stage.heard("a close is suspicious", "KO")
    assert not stage.told("GE still")


def test_a_second_set_up_repeats_no_notice_of_an_open_incident(
    api: str, stage: Stage, slack_settings: Settings
) -> None:
    said = (events.CREDITS_NEARLY_SPENT, events.CREDITS)
    first = stage.tell(events.CREDITS_LEFT, events.CREDITS)
    open_ = stage.tell(*said, "the incident", follows=first)
    stage.heard("credits nearly spent", "the incident")
    alerting.arm(api, again=False)
    after = stage.tell(*said, "after the set-up", follows=open_)
    well = stage.tell(events.CREDITS_LEFT, events.CREDITS, follows=after)
    stage.tell(*said, "the next incident", follows=well)
    stage.heard("credits nearly spent", "the next incident")
    assert "after the set-up" not in str(stage.slack.texts)


def test_without_the_webhook_a_notice_is_an_event(api: str, stage: Stage) -> None:
    changed = alerting.apply(Settings(), api, GRACE)
    counts = "0 created, 12 updated, 0 unchanged, 0 removed"
    assert changed == Applied(f"as events: {counts}", changed=True)
    counts = "0 created, 0 updated, 12 unchanged, 0 removed"
    assert alerting.apply(Settings(), api, GRACE) == Applied(f"as events: {counts}", changed=False)
    with pytest.raises(ObjectNotFound):
        stage.client.read_block_document_by_name(alerting.BLOCK, "webhook")
    event = stage.tell(events.LEVELS_CHANGED, events.INDEX, "nobody is told of this")
    deadline = time.monotonic() + HANG_SECONDS
    while triggered_by(stage.client, event) != {"Autoindex: published levels changed"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert stage.told("nobody is told of this") == []


def triggered_by(client: SyncPrefectClient, event: str) -> set[str]:
    """The automations that the event feed shows as triggered by an event."""
    asked = {"filter": {"event": {"name": ["prefect.automation.triggered"]}, "order": "DESC"}}
    found = client.request("POST", "/events/filter", json=asked).raise_for_status().json()
    return {
        one["resource"]["prefect.resource.name"]
        for one in found["events"]
        if f"prefect.event.{event}" in [about["prefect.resource.id"] for about in one["related"]]
    }


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)
