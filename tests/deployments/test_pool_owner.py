"""A work pool belongs to one database: set-up says which, and no worker of another starts."""

from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

from autoindex.settings import Settings
from deployments import bootstrap
from tests.bounds import HANG_SECONDS
from tests.worker.workers import yard
from worker import POOL


def test_set_up_gives_the_pool_to_its_database(prefect_api: str, settings: Settings) -> None:
    ours = bootstrap.owner(settings)
    with SyncPrefectClient(prefect_api) as client:
        client.update_work_pool(POOL, WorkPoolUpdate(description="the database old (1-2)"))
        try:
            bootstrap.register_pool(prefect_api, ours)
            assert client.read_work_pool(POOL).description == ours
            bootstrap.register_pool(prefect_api)
            assert client.read_work_pool(POOL).description == ours
        finally:  # which others use with other databases
            client.update_work_pool(POOL, WorkPoolUpdate(description=None))


@pytest.mark.chaos
def test_a_worker_of_another_database_does_not_start(
    prefect_api: str, settings: Settings, module_database_url: str, tmp_path: Path
) -> None:
    other = Settings(database_url=module_database_url, data_dir=tmp_path)  # type: ignore[arg-type]
    with yard(prefect_api, settings, tmp_path, "others-yard") as one:
        description = WorkPoolUpdate(description=bootstrap.owner(other))
        one.client.update_work_pool(one.pool, description)
        worker = one.spawn("other")
        assert worker.process.wait(HANG_SECONDS) != 0
        said = " ".join(worker.text.split())
        assert "the worker does not start: the work pool's runs use the database" in said
        assert "Traceback" not in said
        assert one.online() == []
        one.client.update_work_pool(one.pool, WorkPoolUpdate(description=bootstrap.owner(settings)))
        one.start("right")
