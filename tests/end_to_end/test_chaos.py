"""A short storm; `make chaos` is the long one."""

from pathlib import Path

import pytest

from tests.end_to_end.chaos import report
from tests.end_to_end.chaos.faults import FAULTS


@pytest.mark.chaos
def test_a_storm_loses_nothing_doubles_nothing_and_tells_no_lies(memory_folder: Path) -> None:
    # By its seed it may be any of the faults. This one kills a worker, a zygote, PostgreSQL and
    # Redis, and resets a host's connections: none takes long.
    plan = report.Plan(
        FAULTS, tasks=8, strikes=5, every=3, seed=10_829, lease_seconds=6, takeover=False
    )
    said: list[str] = []
    outcome = report.storm(memory_folder / "storm", plan, said.append)
    assert not outcome.wrong, "\n".join([*said, outcome.text])
