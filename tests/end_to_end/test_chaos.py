"""A short storm; `make chaos` is the long one."""

import random

import pytest
from sqlalchemy import Engine

from deployments.stack import Stack
from tests.end_to_end import chaos
from tests.end_to_end.conftest import App


@pytest.mark.chaos
@pytest.mark.usefixtures("refreshed")
def test_a_storm_loses_nothing_and_leaves_what_a_quiet_run_leaves(
    app: App, stack: Stack, database: Engine
) -> None:
    storm = chaos.Storm(stack, app, random.Random(7))
    try:
        storm.rehearse(5)
        quiet = chaos.digest(database)
        faults = [storm.kill_a_run, storm.kill_a_worker, storm.cut_off_the_database]
        storm.blow(5, 2, [*faults, storm.kill_a_zygote, storm.stop_a_worker_in_order])
        statuses = storm.settle()
        bad = [
            one
            for one, status in statuses.items()
            if status["status"] != "success" or storm.final_states(one) != 1
        ]
        assert not bad, "\n".join(storm.story(one) for one in bad)
        assert chaos.digest(database) == quiet
        assert chaos.lost_files(storm, statuses) == []
        assert chaos.leases(database) == 0
    finally:
        storm.calm_down()
