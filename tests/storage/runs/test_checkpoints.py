"""What one attempt leaves to the next."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Engine

from autoindex.storage.runs import checkpoints

TASK, OTHER = UUID(int=7), UUID(int=8)


def test_retries_are_counted_by_subtask(engine: Engine) -> None:
    with engine.begin() as connection:
        counts = [
            checkpoints.count_retry(connection, task, name)
            for task, name in ((TASK, "fetch"), (TASK, "fetch"), (TASK, "upsert"), (OTHER, "fetch"))
        ]
    assert counts == [1, 2, 1, 1]


def test_what_is_done_is_kept_beside_the_retries_until_nobody_needs_it(engine: Engine) -> None:
    with engine.begin() as connection:
        checkpoints.store(connection, OTHER, {})
        assert checkpoints.load(connection, TASK) == {}
        checkpoints.store(connection, TASK, {"fetched": ["AAPL"]})
        checkpoints.count_retry(connection, TASK, "fetch")
        checkpoints.store(connection, TASK, {"fetched": ["AAPL", "KO"]})
        assert checkpoints.load(connection, TASK) == {"fetched": ["AAPL", "KO"]}
        assert checkpoints.count_retry(connection, TASK, "fetch") == 2
        assert checkpoints.forget_idle(connection, timedelta(days=1)) == 0
        assert checkpoints.forget_idle(connection, timedelta(seconds=-1)) == 2
        assert checkpoints.load(connection, TASK) == {}
