"""A work pool that is deleted while its worker runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoindex.settings import Settings
from deployments import stranded_runs
from flows.visibility.finished_runs import TAG
from tests.worker.workers import Yard, yard

pytestmark = pytest.mark.chaos


@pytest.fixture
def one_yard(prefect_api: str, settings: Settings, tmp_path: Path) -> Iterator[Yard]:
    with yard(prefect_api, settings, tmp_path, "deleted-yard") as made:
        yield made


def test_its_worker_says_so_and_no_run_is_left_without_an_end(one_yard: Yard) -> None:
    worker = one_yard.start("left", PREFECT_WORKER_HEARTBEAT_SECONDS="1", limit=1)
    note = one_yard.note("note")
    running = one_yard.post("end_when_told", note=note)
    one_yard.until(Path(note).exists)
    waiting, foreign = (one_yard.post("look_around", note=f"{note}.{n}") for n in range(2))
    one_yard.client.update_flow_run(waiting, tags=[TAG])
    one_yard.client.delete_work_pool(one_yard.pool)
    one_yard.until(lambda: "deleted-yard was deleted: run `autoindex bootstrap`" in worker.text)
    Path(note + ".go").touch()
    one_yard.until_state(running, "Completed")

    stranded_runs.fail(one_yard.client)
    ended = one_yard.read(waiting).state
    assert ended is not None
    assert ended.is_failed()
    assert "was deleted while it waited" in str(ended.message)
    assert one_yard.read(foreign).state_name in ("Scheduled", "Late")

    after = one_yard.post("look_around", note=note + ".after")
    one_yard.until_state(after, "Completed")
    assert worker.text.count("was deleted") == 1
