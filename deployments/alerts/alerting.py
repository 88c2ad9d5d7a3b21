"""Apply the list of notices to a Prefect server; safe to repeat."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from prefect.automations import AutomationCore
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkPool
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings
from pydantic import SecretStr

from autoindex.settings import Settings
from deployments import prefect_server
from deployments.alerts import automations
from flows.visibility import events
from flows.visibility.finished_runs import TAG
from worker import POOL

BLOCK: Final = "autoindex-slack"
# A crash is a problem only if no worker retries the run, and a pool without workers only if none
# comes back: restarts and upgrades are neither.
GRACE: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Applied:
    """A sentence about what was done, and whether any automation was created or updated."""

    sentence: str
    changed: bool


def apply(settings: Settings, api_url: str, grace: timedelta = GRACE) -> Applied:
    """Create, update or remove automations so that the server has what the list says.

    Without `AUTOINDEX_SLACK_WEBHOOK_URL` they send nothing, and the webhook is removed: Prefect's
    event feed still shows each as triggered. One that was switched off by hand stays off. `grace`
    is the time for a crashed run to be retried, and for a work pool to get a new worker.
    """
    with prefect_server.client(api_url) as client:
        with temporary_settings({PREFECT_API_URL: api_url}):
            ui_url = (PREFECT_UI_URL.value() or api_url.removesuffix("/api")).rstrip("/")
            url = settings.slack_webhook_url
            webhook = None if url is None else _webhook(url)
        if webhook is None:
            _remove_webhook(client)
        pool: WorkPool = client.read_work_pool(POOL)
        listed = automations.notices(pool.id, ui_url, grace)
        applied = _bring_to(client, [notice.automation(webhook) for notice in listed])
        where = "as events" if webhook is None else "to Slack"
        return replace(applied, sentence=f"{where}: {applied.sentence}")


def arm(api_url: str, *, again: bool) -> None:
    """Emit a sign of health for each deployment and queue, so that its first failure is noticed.

    Call it once the deployments exist. Unless `again`, it skips
    what was armed before: an open incident would send its notice a second time.
    """
    with prefect_server.client(api_url) as client:
        about: list[tuple[str, list[dict[str, str]]]] = [
            (f"prefect.deployment.{one.id}", _related(f"prefect.deployment.{one.id}"))
            for one in client.read_deployments()
            if TAG in one.tags
        ]
        about += [
            (events.queue_resource(queue.name), [])
            for queue in client.read_work_queues(work_pool_name=POOL)
        ]
        about += [(events.DATA, []), (events.CREDITS, []), (events.INDEX, [])]
        known = set() if again else _armed(client)
        armed = [
            events.as_json(events.ALERTS_ARMED, resource, related)
            for resource, related in about
            if resource not in known
        ]
        client.request("POST", "/events", json=armed).raise_for_status()


def _armed(client: SyncPrefectClient) -> set[str]:
    """What was armed before, as far back as Prefect keeps events."""
    asked = {"filter": {"event": {"name": [events.ALERTS_ARMED]}, "order": "DESC"}, "limit": 50}
    found = client.request("POST", "/events/filter", json=asked).raise_for_status().json()
    return {event["resource"]["prefect.resource.id"] for event in found["events"]}


def _related(deployment: str) -> list[dict[str, str]]:
    """The related resources that a run's own events have, which the triggers match."""
    return [
        {"prefect.resource.id": deployment, "prefect.resource.role": "deployment"},
        {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"},
    ]


def _webhook(url: SecretStr) -> Any:
    block = Webhook(method="POST", url=url, headers={"Content-Type": "application/json"})
    return block.save(BLOCK, overwrite=True)


def _bring_to(client: SyncPrefectClient, wanted: list[AutomationCore]) -> Applied:
    stored = _ours(client)
    created = updated = 0
    for one in wanted:
        known = stored.pop(one.name, None)
        if known is None:
            client.create_automation(one)
            created += 1
        elif _described(known) != _described(one):
            client.update_automation(known.id, one.model_copy(update={"enabled": known.enabled}))
            updated += 1
    for left_over in stored.values():
        client.delete_automation(left_over.id)
    unchanged = len(wanted) - created - updated
    counts = f"{created} created, {updated} updated, {unchanged} unchanged, {len(stored)} removed"
    return Applied(counts, changed=bool(created or updated))


def _described(automation: AutomationCore) -> dict[str, Any]:
    core = AutomationCore.model_validate(automation.model_dump())
    return core.model_dump(exclude={"enabled"})


def _ours(client: SyncPrefectClient) -> dict[str, Automation]:
    every = client.read_automations()
    return {one.name: one for one in every if automations.ALERT_TAG in one.tags}


def _remove_webhook(client: SyncPrefectClient) -> None:
    try:
        block = client.read_block_document_by_name(BLOCK, Webhook.get_block_type_slug())
    except ObjectNotFound:
        return
    client.delete_block_document(block.id)
