"""The list of notices to operators: the events that trigger each, and its text.

Each is a Prefect automation that posts to Slack's incoming webhook, where there is one. One
incident gives one notice: a trigger's `after` names the signs of health, and only the first sign of
trouble after one of them fires. `autoindex bootstrap` applies the list (see
`deployments/alerts/alerting.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from prefect.automations import AutomationCore, CallWebhook, DoNothing, EventTrigger, Posture

from flows.attempts.attempt import AWAITING_TURN
from flows.visibility import events
from flows.visibility.finished_runs import TAG
from worker.run_limits import LIMIT_EXCEEDED, LOST

# Automations with this tag are ours: bootstrap removes those that the list no longer has.
ALERT_TAG: Final = "autoindex-alert"

_RUN: Final = "prefect.flow-run."
_BY_DEPLOYMENT: Final = frozenset({"related:deployment:prefect.resource.id"})
_BY_RESOURCE: Final = frozenset({"prefect.resource.id"})
# How long a trigger waits for trouble after a sign of health: without end.
_FOR_EVER: Final = timedelta(days=3650)
_NO_WORD: Final = timedelta(hours=6)
_LONGEST_REASON: Final = 500

# A run's own text, with Slack's three control characters escaped.
_ESCAPED: Final = 'replace("&", "&amp;") | replace("<", "&lt;") | replace(">", "&gt;")'
_RUN_NAMED: Final = f"(flow_run.name | {_ESCAPED})"
_RUN_REASON: Final = f'((flow_run.state.message or "") | {_ESCAPED} | truncate({_LONGEST_REASON}))'
_OWN_REASON: Final = f"(event.payload.reason | {_ESCAPED})"


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice: the events that trigger it, and its text.

    `said` and `link` are Jinja expressions over the triggering event. With a `grace`, the notice is
    sent if no sign of health comes within it. Without signs of health, a notice is sent each time,
    or `once`. Each value of the labels in `for_each` is an incident of its own; without labels,
    Prefect would send a notice with a grace although nothing happened.
    """

    name: str
    description: str
    trouble: frozenset[str]
    health: frozenset[str]
    said: str
    link: str
    for_each: frozenset[str] = _BY_RESOURCE
    about: dict[str, str] = field(default_factory=dict)
    about_related: dict[str, str] = field(default_factory=dict)
    grace: timedelta | None = None
    once: bool = False

    def automation(self, webhook: UUID | None) -> AutomationCore:
        """The automation that sends it; without a webhook, it is only an event in Prefect."""
        send = webhook and CallWebhook(block_document_id=webhook, payload=self._payload())
        return AutomationCore(
            name=self.name,
            description=self.description,
            tags=[TAG, ALERT_TAG],
            trigger=self._trigger(),
            actions=[send or DoNothing()],
        )

    def _trigger(self) -> EventTrigger:
        # With a grace the absence of health after trouble fires, otherwise trouble itself.
        proactive = self.grace is not None
        return EventTrigger(
            posture=Posture.Proactive if proactive else Posture.Reactive,
            after=set(self.trouble if proactive else self.health),
            expect=set(self.health if proactive else self.trouble),
            # After a notice, a bucket without `after` waits for the rest of its time.
            within=self.grace or (_FOR_EVER if self.health or self.once else timedelta()),
            for_each=set(self.for_each),
            match=self.about,
            match_related=self.about_related,
        )

    def _payload(self) -> str:
        # The characters <, > and | make a link in Slack; tojson quotes whatever a reason holds.
        text = f'"*Autoindex: " ~ {self.said} ~ "\\n<" ~ ({self.link}) ~ "|Look at it in Prefect>"'
        return f'{{"text": {{{{ ({text}) | tojson }}}}}}'


def _run_events(*states: str) -> frozenset[str]:
    return frozenset(f"{_RUN}{state}" for state in states)


_FAILED: Final = _run_events("Failed", "TimedOut", LIMIT_EXCEEDED, LOST)
_ARMED: Final = frozenset({events.ALERTS_ARMED})
_OURS: Final = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
_TAKEN_UP: Final = _FAILED | _run_events(
    "Scheduled", "AwaitingRetry", "Late", "Pending", "Submitting", "Running", "Completed",
    "Skipped", AWAITING_TURN, "Cancelling", "Cancelled",
)  # fmt: skip


def notices(pool_id: UUID, ui_url: str, grace: timedelta) -> Iterable[Notice]:
    """Every notice, for one work pool; `ui_url` is where operators reach Prefect's UI."""
    # Not Prefect's own filter `ui_url`, which needs a setting of the server.
    run = f'"{ui_url}/runs/flow-run/" ~ flow_run.id'
    yield Notice(
        name="Autoindex: a task failed",
        description="The first failure of a deployment's runs since one of them succeeded.",
        trouble=_FAILED,
        health=_run_events("Completed") | _ARMED,
        for_each=_BY_DEPLOYMENT,
        about_related=_OURS,
        said=f'flow.name ~ " failed* (" ~ {_RUN_NAMED} ~ ")\\n" ~ {_RUN_REASON}',
        link=run,
    )
    yield Notice(
        name="Autoindex: a task crashed",
        description="A run's process ended, and the run was not taken up again.",
        trouble=_run_events("Crashed"),
        health=_TAKEN_UP,
        about_related=_OURS,
        grace=grace,
        said=f'flow.name ~ " crashed* (" ~ {_RUN_NAMED} ~ ")\\n" ~ {_RUN_REASON}',
        link=run,
    )
    yield Notice(
        name="Autoindex: a task is late",
        description="The first late run of a deployment since one of its runs began.",
        trouble=_run_events("Late"),
        health=_run_events("Running") | _ARMED,
        for_each=_BY_DEPLOYMENT,
        about_related=_OURS,
        said=f'flow.name ~ " is late* (" ~ {_RUN_NAMED} ~ ")\\nNo worker has begun it. It was "'
        ' ~ flow_run.next_scheduled_start_time.strftime("due at %H:%M UTC on %d %B %Y.")',
        link=run,
    )
    yield Notice(
        name="Autoindex: no worker is online",
        description="The work pool has lost its last worker.",
        trouble=frozenset({"prefect.work-pool.not-ready"}),
        # After a restart Prefect holds back events that follow one from before it: the worker's
        # own event follows none.
        health=frozenset({"prefect.work-pool.ready", events.WORKER_STARTED}),
        about={"prefect.resource.id": events.pool_resource(pool_id)},
        grace=grace,
        said='"no worker is online*\\nThe work pool " ~ work_pool.name ~ '
        '" has no worker that beats; tasks wait."',
        link=f'"{ui_url}/work-pools/work-pool/" ~ work_pool.name',
    )
    yield from _own(ui_url)
    yield from _index(ui_url)


def _own(ui_url: str) -> Iterable[Notice]:
    """Notices of what `flows/visibility/monitors.py` sees."""
    yield Notice(
        name="Autoindex: a queue is too old",
        description="A run has waited too long in a work queue.",
        trouble=frozenset({events.QUEUE_TOO_OLD}),
        health=frozenset({events.QUEUE_MOVING, events.ALERTS_ARMED}),
        about={"prefect.resource.id": events.queue_resource("*")},
        said=f'"a queue is too old*\\n" ~ {_OWN_REASON}',
        link=f'"{ui_url}/work-pools"',
    )
    yield Notice(
        name="Autoindex: data are stale",
        description="A session has closed hours ago and its bars are not stored.",
        trouble=frozenset({events.DATA_STALE}),
        health=frozenset({events.DATA_CURRENT, events.ALERTS_ARMED}),
        about={"prefect.resource.id": events.DATA},
        said=f'"data are stale after the close*\\n" ~ {_OWN_REASON}',
        link=f'"{ui_url}/deployments"',
    )
    yield Notice(
        name="Autoindex: no word on the data",
        description="No refresh has looked at the data for hours, whatever the reason.",
        trouble=frozenset({events.DATA_CURRENT, events.DATA_STALE}),
        health=frozenset({events.DATA_CURRENT, events.DATA_STALE}),
        about={"prefect.resource.id": events.DATA},
        grace=_NO_WORD,
        said='"no word on the data*\\nNo refresh has ended well for "'
        f' ~ "{_NO_WORD.total_seconds() / 3600:.0f} hours; before that: " ~ {_OWN_REASON}',
        link=f'"{ui_url}/deployments"',
    )
    yield Notice(
        name="Autoindex: credits nearly spent",
        description="Nine tenths of the provider's credits of the day are spent.",
        trouble=frozenset({events.CREDITS_NEARLY_SPENT}),
        health=frozenset({events.CREDITS_LEFT, events.ALERTS_ARMED}),
        about={"prefect.resource.id": events.CREDITS},
        said=f'"credits nearly spent*\\n" ~ {_OWN_REASON}',
        link=f'"{ui_url}/deployments"',
    )


def _index(ui_url: str) -> Iterable[Notice]:
    """Notices of what a computation of the published index finds."""
    about = {"prefect.resource.id": events.INDEX}
    link = f'"{ui_url}/deployments"'
    yield Notice(
        name="Autoindex: published levels changed",
        description="A computation has made new versions of published levels; each is told.",
        trouble=frozenset({events.LEVELS_CHANGED}),
        health=frozenset(),
        about=about,
        said=f'"published levels changed*\\n" ~ {_OWN_REASON}',
        link=link,
    )
    yield Notice(
        name="Autoindex: a level is provisional",
        description="Prices were missing after a session's deadline.",
        trouble=frozenset({events.LEVELS_PROVISIONAL}),
        health=frozenset({events.LEVELS_FINAL, events.ALERTS_ARMED}),
        about=about,
        said=f'"a level is provisional*\\n" ~ {_OWN_REASON}',
        link=link,
    )
    yield Notice(
        name="Autoindex: a correction is pending",
        description="A close behind an old level has changed; somebody has to decide.",
        trouble=frozenset({events.CORRECTION_PENDING}),
        health=frozenset({events.NO_CORRECTION_PENDING, events.ALERTS_ARMED}),
        about=about,
        said=f'"a correction is pending*\\n" ~ {_OWN_REASON}',
        link=link,
    )
    yield Notice(
        name="Autoindex: a close is suspicious",
        description="A close jumps like a split; the next session or somebody confirms it.",
        trouble=frozenset({events.CLOSE_SUSPICIOUS}),
        health=frozenset(),
        about={"prefect.resource.id": events.close_resource("*", "*")},
        once=True,
        said=f'"a close is suspicious*\\n" ~ {_OWN_REASON}',
        link=link,
    )
