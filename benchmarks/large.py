"""What the largest computations take: 10,000 symbols monthly, and 3,000 daily.

    python -m benchmarks.large

The composite over 5,040 sessions (20 years): the flow itself, in a process of its own whose memory
and processor time are read from outside. Its limits are those of an attempt, from `prefect.yaml`.
The time by the clock includes PostgreSQL's, and on a busy machine that of others.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks import compute, table
from benchmarks.own_memory import Used
from benchmarks.panels import Panel
from benchmarks.table import Ratio, say

COMPUTATIONS = ((10_000, "monthly"), (3_000, "daily"))
DEPLOYMENT = "compute"


def ratios() -> Iterator[Ratio]:
    """Memory and time of each computation, beside the limits of its deployment."""
    limits = limits_of(DEPLOYMENT)
    seconds = limits["soft_time_limit_seconds"]
    for symbols, frequency in COMPUTATIONS:
        used = compute.memory_of_flow(Panel.made(symbols), frequency)
        what = f"large: {symbols:,} symbols, {frequency}"
        say(f"{what}: {used.samples} samples of its memory")
        yield own_memory(what, used, limits["memory_limit_mb"])
        yield Ratio(f"{what}, time", used.seconds, seconds, "soft limit")
        name = f"{what}, its processor time"
        yield Ratio(name, used.cpu_seconds, seconds, "soft limit", at_most=1)


def own_memory(what: str, used: Used, limit: float) -> Ratio:
    """The most memory of its own that a flow had."""
    return Ratio(f"{what}, own memory", used.peak_mb, limit, "limit", unit="MB", at_most=1)


def limits_of(deployment: str) -> dict[str, Any]:
    """The limits of an attempt, from the project's `prefect.yaml`."""
    project = yaml.safe_load((Path(__file__).parents[1] / "prefect.yaml").read_text())
    chosen = next(one for one in project["deployments"] if one["name"] == deployment)
    limits: dict[str, Any] = chosen["work_pool"]["job_variables"]
    return limits


if __name__ == "__main__":
    sys.exit(table.main(ratios))
