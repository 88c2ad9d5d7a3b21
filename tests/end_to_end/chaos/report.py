"""A whole storm from its first part to its table."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.end_to_end.chaos import judge, takeover
from tests.end_to_end.chaos.faults import Fault
from tests.end_to_end.chaos.parts import left_over
from tests.end_to_end.chaos.stage import Stage, opened
from tests.end_to_end.chaos.storm import Storm
from tests.end_to_end.chaos.tasks import computations
from tests.end_to_end.chaos.tasks import tasks as make_tasks

_TAKEOVER_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 420.0


@dataclass(frozen=True)
class Outcome:
    """The table, and each thing that is wrong in a line; none where all is well."""

    text: str
    wrong: list[str]


def storm(
    folder: Path,
    faults: Sequence[Fault],
    *,
    tasks: int,
    strikes: int,
    every: float,
    seed: int,
    lease_seconds: float,
    say: Callable[[str], None],
) -> Outcome:
    """Storm a stack of its own in an empty folder."""
    with opened(folder, seed, lease_seconds) as stage:
        blowing = Storm(stage, say)
        try:
            outcome = _storm(blowing, faults, tasks, strikes, every, say)
        finally:
            blowing.close()
        data = str(stage.settings.data_dir)
    if left := left_over(data):
        names = [process.name() for process in left if process.is_running()]
        outcome.wrong.append(f"{len(left)} processes left over: {', '.join(names)}")
    return Outcome(f"{outcome.text}\n{_last(outcome.wrong)}", outcome.wrong)


def _storm(
    blowing: Storm,
    faults: Sequence[Fault],
    tasks: int,
    strikes: int,
    every: float,
    say: Callable[[str], None],
) -> Outcome:
    stage = blowing.stage
    say(
        f"the disk for reports is {stage.disk.kind}; hosts are "
        + ", ".join(type(host.network).__name__.lower() for host in stage.hosts)
    )
    stage.app.succeed("refresh", {"mode": "full"})
    # An index that is computed for the first time has nothing to go on from, and may differ in its
    # last digit from one that has.
    for _ in range(2):
        blowing.quiet(computations())
    quiet = judge.digest(stage.engine)
    took = takeover.measured(stage)
    say(f"host killed to Running elsewhere: {took:.1f} s")
    judge.forget_indexes(stage.engine)
    since = datetime.now(UTC)
    chosen = _chosen(stage, faults, strikes)
    blowing.blow(list(make_tasks(tasks)), chosen, every)
    statuses = blowing.settle(_SETTLE_SECONDS)
    found = judge.verdicts(blowing, statuses, quiet)
    for verdict in found:
        status = (verdict.status or {}).get("status")
        if not verdict.is_good or status != "success":
            say(judge.story(stage, verdict))
    return _outcome(blowing, found, since, took)


def _chosen(stage: Stage, faults: Sequence[Fault], strikes: int) -> list[Fault]:
    """Each in turn, in an order of the seed's, until there are enough."""
    chosen: list[Fault] = []
    while len(chosen) < strikes:
        chosen += stage.random.sample(faults, len(faults))
    return chosen[:strikes]


def _outcome(
    blowing: Storm, found: Sequence[judge.Verdict], since: datetime, took: float
) -> Outcome:
    stage = blowing.stage
    ends = Counter((one.status or {"status": "none"})["status"] for one in found)
    extra, left = judge.extra_runs(blowing, since), judge.left_behind(stage)
    facts = {
        **{f"ended as {name}": number for name, number in sorted(ends.items())},
        "mails taken in": sum(stage.mail.mails.values()),
        "runs beside those asked for": extra,
        **left,
        "temporary files left for a clean-up": judge.temporary_files(stage)[0],
        **{f"{part} ended by itself": part.deaths for part in stage.parts if part.deaths},
        **{f"not tried here: {name}": why for name, why in blowing.not_here.items()},
        "host killed to Running elsewhere, s": round(took, 1),
    }
    wrong = [
        f"task {one.task.task_id} ({one.task.path}): {kind}: {', '.join(said)}"
        for one in found
        for kind, said in judge.wrongs(one).items()
        if said
    ]
    wrong += [f"{name}: {number}" for name, number in left.items() if number]
    if extra:
        wrong.append(f"{extra} runs beside those asked for")
    if took > _TAKEOVER_SECONDS:
        wrong.append(f"host killed to Running elsewhere took {took:.1f} s")
    lines = _aligned(judge.table(blowing, found))
    lines += ["", *(f"{name:<42} {value}" for name, value in facts.items()), ""]
    return Outcome("\n".join(lines), wrong)


def _last(wrong: Sequence[str]) -> str:
    if wrong:
        return "\n".join([*wrong, f"WRONG: {len(wrong)}"])
    return "0 lost, 0 doubled, 0 untruthful, nothing left over"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
