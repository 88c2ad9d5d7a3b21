"""A report is mailed once, whoever tries and whoever dies."""

from threading import Barrier, Thread
from uuid import UUID

from sqlalchemy import Engine

from autoindex.storage import deliveries

TASK, TO, MESSAGE = UUID(int=7), "ann@example.org", "<7@example.org>"


def claim(engine: Engine) -> bool:
    with engine.begin() as connection:
        return deliveries.claim(connection, TASK, TO, MESSAGE)


def status(engine: Engine) -> str | None:
    with engine.connect() as connection:
        found = deliveries.find(connection, TASK, TO)
        return found.status if found else None


def mark(engine: Engine, outcome: deliveries.Outcome) -> None:
    with engine.begin() as connection:
        deliveries.mark(connection, TASK, TO, outcome)


def test_what_was_sent_is_not_sent_again(engine: Engine) -> None:
    assert claim(engine)
    mark(engine, "sent")
    assert not claim(engine)
    with engine.connect() as connection:
        found = deliveries.find(connection, TASK, TO)
    assert found is not None
    assert (found.status, found.message_id) == ("sent", MESSAGE)
    assert found.sent_at is not None
    assert found.sent_at >= found.claimed_at


def test_a_claim_whose_holder_died_is_unknown_and_not_sent_again(engine: Engine) -> None:
    assert claim(engine)
    assert status(engine) == "claimed"
    assert not claim(engine)
    assert status(engine) == "unknown"
    assert not claim(engine)


def test_who_was_only_slow_still_says_how_it_ended(engine: Engine) -> None:
    assert claim(engine)
    assert not claim(engine)
    mark(engine, "sent")
    mark(engine, "unknown")
    assert status(engine) == "sent"


def test_a_refused_mail_stays_refused(engine: Engine) -> None:
    claim(engine)
    mark(engine, "refused")
    assert not claim(engine)
    assert status(engine) == "refused"


def test_a_claim_given_back_can_be_made_again(engine: Engine) -> None:
    claim(engine)
    with engine.begin() as connection:
        assert deliveries.release(connection, TASK, TO)
    assert claim(engine)
    mark(engine, "sent")
    with engine.begin() as connection:
        assert not deliveries.release(connection, TASK, TO)
    assert status(engine) == "sent"


def test_each_recipient_is_claimed_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        assert deliveries.claim(connection, TASK, TO, MESSAGE)
        assert deliveries.claim(connection, TASK, "bob@example.org", MESSAGE)
        assert deliveries.find(connection, UUID(int=8), TO) is None


def test_of_many_at_once_one_wins(engine: Engine) -> None:
    together, won = Barrier(5), []

    def attempt() -> None:
        together.wait()
        won.append(claim(engine))

    threads = [Thread(target=attempt) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 4 + [True]
