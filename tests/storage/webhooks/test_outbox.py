"""The outbox: told in the transaction of the fact, claimed by one, and never forgotten."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, text

from autoindex.requests import Frequency, Strategy
from autoindex.storage import audit
from autoindex.storage.audit import Author, Wanted
from autoindex.storage.index import publications
from autoindex.storage.webhooks import endpoints, outbox
from autoindex.storage.webhooks.endpoints import Webhook
from autoindex.storage.webhooks.outbox import Delivery
from autoindex.webhooks.events import Event, EventType
from autoindex.webhooks.sender import Outcome

AT = datetime(2022, 12, 28, 22, tzinfo=UTC)
FAILED, DONE, GONE = Outcome(500, "HTTP 500"), Outcome(204, "HTTP 204"), Outcome(410, "HTTP 410")
EVERY: list[EventType] = ["task.ended", "levels.published", "levels.changed"]
MOST = {"each": 100, "most": 1_000}


def create(
    connection: Connection, user: str = "ann", url: str = "https://a.test/", **chosen: Any
) -> Webhook:
    events = chosen.get("events", EVERY)
    return endpoints.create(connection, Author(user), url, events, "whsec_MfKQ9r8GKYqrTwjUPD8I")


def event(kind: EventType = "levels.published", id_: str | None = None) -> Event:
    return Event(id_ or f"msg_{uuid4().hex}", kind, AT, {})


def deliveries(connection: Connection, webhook_id: UUID, user: str = "ann") -> list[Delivery]:
    return outbox.load(connection, user, webhook_id, limit=1_000, offset=0)[1]


def due(connection: Connection) -> None:
    connection.execute(
        text("update webhook_deliveries set next_attempt_at = now() where next_attempt_at > now()")
    )


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as opened:
        yield opened


def test_an_event_is_told_to_whom_it_concerns_once(connection: Connection) -> None:
    ann = create(connection).id
    some = create(connection, url="https://b.test/", events=["task.ended"]).id
    bob = create(connection, "bob").id
    off = create(connection, "bob", url="https://off.test/").id
    endpoints.disable(connection, off, "no answer")
    outbox.tell(connection, event())
    of_ann = event("task.ended", "msg_1")
    for _ in range(2):
        outbox.tell(connection, of_ann, {"ann", "eve"})
    told = {
        name: [one.event for one in deliveries(connection, id_, user)][::-1]
        for name, id_, user in (("ann", ann, "ann"), ("some", some, "ann"), ("bob", bob, "bob"))
    }
    assert told == {
        "ann": ["levels.published", "task.ended"],
        "some": ["task.ended"],
        "bob": ["levels.published"],
    }
    assert deliveries(connection, off, "bob") == []


def test_what_is_undone_was_not_told(engine: Engine) -> None:
    with engine.begin() as connection:
        hook = create(connection).id
    with suppress(ZeroDivisionError), engine.begin() as connection:
        outbox.tell(connection, event())
        raise ZeroDivisionError
    with engine.begin() as connection:
        assert deliveries(connection, hook) == []
        assert outbox.claim(connection, [], **MOST) == []


def test_levels_are_told_with_what_publishes_them(engine: Engine) -> None:
    which = Strategy.COMPOSITE, Frequency.MONTHLY
    days = pd.bdate_range("2022-12-01", periods=4)
    task_id = uuid4()
    with engine.begin() as connection:
        hook = create(connection).id
        first = pd.Series([100.0, 101.0, 102.0], days[:3])
        publications.publish(connection, *which, first, cause="the first", task_id=task_id)
        publications.publish(connection, *which, first, cause="the same", task_id=task_id)
        later = pd.Series([100.0, 99.0, 98.0, 97.0], days)
        publications.publish(connection, *which, later, cause="a split", task_id=None)
    with engine.begin() as connection:
        told = deliveries(connection, hook)[::-1]
    said = {"strategy": "composite", "frequency": "monthly"}
    bodies = [json.loads(one.body) for one in told]
    assert [(one["type"], one["data"]) for one in bodies] == [
        (
            "levels.published",
            {
                **said,
                "cause": "the first",
                "task_id": str(task_id),
                "first": "2022-12-01",
                "last": "2022-12-05",
                "levels": 3,
            },
        ),
        (
            "levels.published",
            {
                **said,
                "cause": "a split",
                "task_id": None,
                "first": "2022-12-06",
                "last": "2022-12-06",
                "levels": 1,
            },
        ),
        (
            "levels.changed",
            {
                **said,
                "cause": "a split",
                "task_id": None,
                "first": "2022-12-02",
                "last": "2022-12-05",
                "levels": 2,
            },
        ),
    ]


def test_two_never_claim_the_same(engine: Engine) -> None:
    with engine.begin() as connection:
        for user in ("ann", "bob"):
            create(connection, user)
        for _ in range(20):
            outbox.tell(connection, event())
    with engine.begin() as one, engine.begin() as two:
        mine = outbox.claim(one, [], each=8, most=99)
        theirs = outbox.claim(two, [], each=8, most=99)
    with engine.begin() as later:
        rest = outbox.claim(later, [], **MOST)
        assert outbox.claim(later, [], **MOST) == []
    claimed = [claim.id for claim in (*mine, *theirs, *rest)]
    assert (len(mine), len(theirs), len(set(claimed)), len(claimed)) == (16, 16, 40, 40)


def test_a_busy_webhook_does_not_keep_others_from_theirs(connection: Connection) -> None:
    ann, bob = create(connection).id, create(connection, "bob").id
    outbox.tell(connection, event())
    assert [claim.webhook_id for claim in outbox.claim(connection, [ann], **MOST)] == [bob]
    assert outbox.claim(connection, [], each=9, most=0) == []
    assert [claim.webhook_id for claim in outbox.claim(connection, [], **MOST)] == [ann]


def test_what_nobody_settles_is_claimed_again_with_the_same_id_and_body(
    connection: Connection,
) -> None:
    hook = create(connection).id
    outbox.tell(connection, event())
    (first,) = outbox.claim(connection, [], **MOST)
    assert outbox.claim(connection, [], **MOST) == []
    due(connection)
    (second,) = outbox.claim(connection, [], **MOST)
    assert (second.message, second.attempt) == (first.message, 2)
    outbox.settle(connection, first, FAILED)  # late: it is none of the first's business any more
    (delivery,) = deliveries(connection, hook)
    assert (delivery.attempts, delivery.outcome) == (2, None)
    outbox.settle(connection, second, DONE)
    outbox.settle(connection, first, FAILED)
    due(connection)
    assert outbox.claim(connection, [], **MOST) == []


def test_retries_take_more_than_a_day_then_it_is_given_up(connection: Connection) -> None:
    hook = create(connection).id
    outbox.tell(connection, event())
    waits = []
    while claims := outbox.claim(connection, [], **MOST):
        outbox.settle(connection, claims[0], FAILED)
        (delivery,) = deliveries(connection, hook)
        if delivery.next_attempt_at is not None:
            now = connection.execute(text("select now()")).scalar_one()
            waits.append(delivery.next_attempt_at - now)
        due(connection)
    assert (delivery.attempts, delivery.delivered_at) == (9, None)
    assert delivery.outcome == "HTTP 500"
    assert waits == sorted(waits)
    assert waits[0] < timedelta(seconds=6)
    assert timedelta(hours=25) < sum(waits, timedelta()) < timedelta(hours=29)


def test_a_day_of_failures_disables_and_is_in_the_audit(connection: Connection) -> None:
    hook = create(connection).id
    for _ in range(2):
        outbox.tell(connection, event())
    one, two = outbox.claim(connection, [], **MOST)
    outbox.settle(connection, one, FAILED)
    ago = "update webhooks set failing_since = now() - interval '25 hours'"
    connection.execute(text(ago))
    outbox.settle(connection, two, DONE)  # a success: it is well
    assert endpoints.find(connection, "ann", hook).failing_since is None
    due(connection)
    (again,) = outbox.claim(connection, [], **MOST)
    outbox.settle(connection, again, FAILED)
    connection.execute(text(ago))
    due(connection)
    (again,) = outbox.claim(connection, [], **MOST)
    outbox.settle(connection, again, FAILED)
    found = endpoints.find(connection, "ann", hook)
    because = "every attempt has failed for a day; the last one: HTTP 500"
    assert found.disabled_because == because
    assert found.disabled_at is not None
    _, (entry,) = audit.load(
        connection, Wanted(action="disable webhook", subject=str(hook)), limit=9, offset=0
    )
    assert (entry.user, entry.after) == ("autoindex", {"disabled_because": because})
    due(connection)
    outbox.tell(connection, event())
    assert outbox.claim(connection, [], **MOST) == []
    endpoints.enable(connection, Author("ann"), hook)
    assert len(outbox.claim(connection, [], **MOST)) == 1


def test_gone_disables_at_once_and_what_waits_is_kept(connection: Connection) -> None:
    hook = create(connection).id
    for _ in range(3):
        outbox.tell(connection, event())
    (one, two, _) = outbox.claim(connection, [], **MOST)
    for claim in (one, two):
        outbox.settle(connection, claim, GONE)
    assert endpoints.find(connection, "ann", hook).disabled_because == "it answered 410 Gone"
    found = Wanted(action="disable webhook", subject=str(hook))
    assert audit.load(connection, found, limit=9, offset=0)[0] == 1
    due(connection)
    assert outbox.claim(connection, [], **MOST) == []
    endpoints.enable(connection, Author("ann"), hook)
    assert len(outbox.claim(connection, [], **MOST)) == 3


def test_a_replay_sends_what_has_ended_and_hurries_what_waits(connection: Connection) -> None:
    ann = Author("ann")
    hook = create(connection).id
    outbox.tell(connection, event())
    (delivery,) = deliveries(connection, hook)
    (claim,) = outbox.claim(connection, [], **MOST)
    assert outbox.replay(connection, ann, hook, delivery.id).attempts == 1
    assert outbox.claim(connection, [], **MOST) == []  # it was on its way
    outbox.settle(connection, claim, FAILED)
    assert outbox.replay(connection, ann, hook, delivery.id).attempts == 0
    (again,) = outbox.claim(connection, [], **MOST)
    outbox.settle(connection, again, DONE)
    outbox.replay(connection, ann, hook, delivery.id)
    (third,) = outbox.claim(connection, [], **MOST)
    assert third.message == claim.message
    with pytest.raises(endpoints.WebhookUnknown):
        outbox.replay(connection, Author("bob"), hook, delivery.id)
    with pytest.raises(endpoints.WebhookUnknown):
        outbox.replay(connection, ann, hook, delivery.id + 1)


def test_a_user_has_ten_at_most_and_one_for_a_url(connection: Connection) -> None:
    made = [create(connection, url=f"https://{n}.test/") for n in range(10)]
    with pytest.raises(endpoints.WebhookExists):
        create(connection, url="https://3.test/")
    with pytest.raises(endpoints.TooManyWebhooks):
        create(connection, url="https://11.test/")
    create(connection, "bob", url="https://3.test/")
    endpoints.remove(connection, Author("ann"), made[0].id)
    create(connection, url="https://11.test/")
    with pytest.raises(endpoints.WebhookUnknown):
        endpoints.remove(connection, Author("bob"), made[1].id)


def test_what_is_deleted_is_sent_no_more(connection: Connection) -> None:
    hook = create(connection).id
    outbox.tell(connection, event())
    (claim,) = outbox.claim(connection, [], **MOST)
    endpoints.remove(connection, Author("ann"), hook)
    outbox.settle(connection, claim, GONE)  # its answer comes late
    due(connection)
    assert outbox.claim(connection, [], **MOST) == []
    found = Wanted(action="disable webhook", subject=str(hook))
    assert audit.load(connection, found, limit=9, offset=0)[0] == 0


def test_a_webhook_that_is_being_deleted_is_left_out_and_hinders_nobody(engine: Engine) -> None:
    with engine.begin() as connection:
        gone = create(connection).id
        kept = create(connection, "bob").id
    with engine.connect() as deleting, engine.connect() as telling, ThreadPoolExecutor(1) as pool:
        endpoints.remove(deleting, Author("ann"), gone)
        told = pool.submit(outbox.tell, telling, event())
        while not waits_for_a_lock(engine):
            assert not told.done()
        deleting.commit()
        told.result()
        telling.commit()
    with engine.connect() as connection:
        assert len(deliveries(connection, kept, "bob")) == 1


def waits_for_a_lock(engine: Engine) -> bool:
    query = """
        select exists (select from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database())
    """
    with engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())


def test_a_failure_that_comes_after_another_worker_has_succeeded_counts_for_nothing(
    connection: Connection,
) -> None:
    webhook = create(connection).id
    outbox.tell(connection, event())
    (late,) = outbox.claim(connection, [], **MOST)
    due(connection)
    (other,) = outbox.claim(connection, [], **MOST)
    outbox.settle(connection, other, DONE)
    outbox.settle(connection, late, FAILED)
    assert endpoints.find(connection, "ann", webhook).failing_since is None
    (delivery,) = deliveries(connection, webhook)
    assert delivery.outcome == "HTTP 204"


def test_the_longest_due_comes_first_whosever_it_is(connection: Connection) -> None:
    names = ["ann", "bob", "cy"]
    webhooks = {name: create(connection, name).id for name in names}
    for name in ("cy", "ann", "bob"):
        outbox.tell(connection, event(), [name])
    claimed = [outbox.claim(connection, [], each=1, most=1)[0].webhook_id for _ in names]
    assert claimed == [webhooks[name] for name in ("cy", "ann", "bob")]


def test_the_audit_shows_a_host_only(connection: Connection) -> None:
    create(connection, url="https://a.test?token=secret")
    (entry,) = audit.load(connection, Wanted(action="create webhook"), limit=10, offset=0)[1]
    assert entry.after == {"host": "a.test", "events": EVERY}
