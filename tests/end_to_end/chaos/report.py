"""A whole storm from its first part to its table."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.end_to_end.chaos import judge, takeover
from tests.end_to_end.chaos.faults import Fault
from tests.end_to_end.chaos.parts import left_over
from tests.end_to_end.chaos.stage import Stage, opened
from tests.end_to_end.chaos.storm import Storm
from tests.end_to_end.chaos.tasks import computations
from tests.end_to_end.chaos.tasks import tasks as make_tasks

_TAKEOVER_SECONDS: Final = 30.0
_TAKEOVER: Final = "host killed to Running elsewhere, s"
# A bound that only a hang meets: refreshes wait for each other.
_SETTLE_SECONDS: Final = 300.0
_SETTLE_SECONDS_A_TASK: Final = 10.0


@dataclass(frozen=True)
class Plan:
    """What a storm is made of."""

    faults: Sequence[Fault]
    tasks: int
    strikes: int
    every: float
    """Seconds from one fault to the next."""
    seed: int
    lease_seconds: float
    takeover: bool = True
    """Whether to measure how long a killed host's tasks wait; that takes a calm machine."""


@dataclass(frozen=True)
class Outcome:
    """The table, and each thing that is wrong in a line; none where all is well."""

    text: str
    wrong: list[str]


def storm(folder: Path, plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Storm a stack of its own in an empty folder."""
    with opened(folder, plan.seed, plan.lease_seconds) as stage:
        say(f"the disk for reports is {stage.disk.kind}")
        networks = {type(host.network).__name__.lower() for host in stage.hosts}
        say(f"each host has a network of its own, by {', '.join(networks)}")
        blowing = Storm(stage, say)
        try:
            outcome = _storm(blowing, plan, say)
        finally:
            blowing.close()
        data = str(stage.settings.data_dir)
    if left := left_over(data):
        outcome.wrong.append(f"{len(left)} processes left over")
    return Outcome(f"{outcome.text}\n{_last(outcome.wrong)}", outcome.wrong)


def _storm(blowing: Storm, plan: Plan, say: Callable[[str], None]) -> Outcome:
    stage = blowing.stage
    stage.app.succeed("refresh", {"mode": "full"})
    say(f"{datetime.now(UTC):%H:%M:%S} refreshed")
    # An index that is computed for the first time has nothing to go on from, and may differ in its
    # last digit from one that has.
    for _ in range(2):
        blowing.quiet(computations(make_tasks(plan.tasks)))
    quiet = judge.digest(stage.engine)
    took = {_TAKEOVER: takeover.measured(stage)} if plan.takeover else {}
    judge.forget_indexes(stage.engine)
    say(f"{datetime.now(UTC):%H:%M:%S} begun, with indexes to find again")
    since = datetime.now(UTC)
    blowing.blow(list(make_tasks(plan.tasks)), _chosen(stage, plan), plan.every)
    say(f"{datetime.now(UTC):%H:%M:%S} all asked for")
    statuses = blowing.settle(_SETTLE_SECONDS + plan.tasks * _SETTLE_SECONDS_A_TASK)
    say(f"{datetime.now(UTC):%H:%M:%S} ended")
    found = judge.verdicts(blowing, statuses, quiet)
    for verdict in found:
        if not (verdict.is_good and verdict.succeeded):
            say(judge.story(stage, verdict))
    return _outcome(blowing, found, judge.extra_runs(blowing, since), took)


def _chosen(stage: Stage, plan: Plan) -> list[Fault]:
    """Each in turn, in an order of the seed's, until there are enough."""
    chosen: list[Fault] = []
    while len(chosen) < plan.strikes:
        chosen += stage.random.sample(plan.faults, len(plan.faults))
    return chosen[: plan.strikes]


def _outcome(
    blowing: Storm, found: Sequence[judge.Verdict], extra: int, took: dict[str, float]
) -> Outcome:
    stage, left = blowing.stage, judge.left_behind(blowing.stage)
    facts = {
        **Counter(f"ended as {one.end}" for one in found),
        "mails taken in": sum(stage.mail.mails.values()),
        "runs beside those asked for": extra,
        **left,
        "temporary files left for a cleanup": judge.temporary_files(stage)[0],
        **{f"{part} ended by itself": part.deaths for part in stage.parts if part.deaths},
        **{f"not tried here: {name}": why for name, why in blowing.not_here.items()},
        **{name: f"{seconds:.1f}" for name, seconds in took.items()},
        "load of the machine": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors",
    }
    off = left | {"runs beside those asked for": extra}
    wrong = [line for one in found for line in _lines(one)]
    wrong += [f"{name}: {number}" for name, number in off.items() if number]
    wrong += [f"{name}: {value:.1f}" for name, value in took.items() if value > _TAKEOVER_SECONDS]
    lines = [*_aligned(judge.table(blowing, found)), "", *_aligned(list(facts.items())), ""]
    return Outcome("\n".join(lines), wrong)


def _lines(one: judge.Verdict) -> list[str]:
    name = f"task {one.task.task_id} ({one.task.path})"
    return [
        f"{name}: {kind}: {', '.join(said)}" for kind, said in judge.wrongs(one).items() if said
    ]


def _last(wrong: Sequence[str]) -> str:
    if wrong:
        return "\n".join([*wrong, f"WRONG: {len(wrong)}"])
    return "0 lost, 0 doubled, 0 untruthful, nothing left over"


def _aligned(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
