"""A short storm; `make chaos` is the long one."""

from pathlib import Path

import pytest

from tests.end_to_end.chaos import report
from tests.end_to_end.chaos.faults import FAULTS


@pytest.mark.chaos
@pytest.mark.xdist_group("stack")
def test_a_storm_loses_nothing_doubles_nothing_and_tells_no_lies(tmp_path: Path) -> None:
    # By its seed it may be any of the faults.
    plan = report.Plan(
        FAULTS, tasks=12, strikes=6, every=4, seed=7, lease_seconds=6, takeover=False
    )
    said: list[str] = []
    outcome = report.storm(tmp_path, plan, said.append)
    assert not outcome.wrong, "\n".join([*said, outcome.text])
