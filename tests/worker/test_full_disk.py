"""A worker whose log is on a full disk."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from autoindex.settings import Settings
from tests.worker.workers import Yard, yard

pytestmark = pytest.mark.chaos


@pytest.fixture
def one_yard(prefect_api: str, settings: Settings, tmp_path: Path) -> Iterator[Yard]:
    with yard(prefect_api, settings, tmp_path, "full-yard") as made:
        yield made


def test_it_goes_on_without_a_log(one_yard: Yard) -> None:
    log = one_yard.folder / "full-0.log"
    log.symlink_to("/dev/full")
    worker = one_yard.spawn("full")
    log.unlink()
    log.touch()  # for whoever reads it
    run_id = one_yard.post("look_around", note=one_yard.note("note"))
    one_yard.until(lambda: worker.process.poll() is not None or ended(one_yard, run_id))
    assert worker.process.poll() is None
    assert one_yard.states(run_id)[-2:] == ["Running", "Completed"]


def ended(one_yard: Yard, run_id: UUID) -> bool:
    state = one_yard.read(run_id).state
    return state is not None and state.is_final()
