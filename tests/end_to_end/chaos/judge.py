"""What a storm leaves: whether every task has one end, which is true, and nothing is left over."""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from autoindex import filenames
from tests.end_to_end.chaos.stage import Stage
from tests.end_to_end.chaos.storm import Storm
from tests.end_to_end.chaos.tasks import FREQUENCY, SINCE, STRATEGIES, Task

FINAL: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
RAN: Final = FINAL | {"RUNNING"}
_CLAIMED: Final = RAN | {"PENDING"}
# What tasks leave behind, in an order of its own; not when, nor by which task.
_PRICES: Final = "select * from prices order by asset_id, session"
_INDEX: Final = {
    "index_levels": ("session, level, version, missing", "session"),
    "allocations": ("*", "session, asset_id"),
    "metrics": ("*", "session"),
}
_LEFT_SECONDS: Final = 60.0


@dataclass
class Verdict:
    """What is known of one task, and what is wrong with it."""

    task: Task
    status: Mapping[str, Any] | None
    states: list[dict[str, Any]]
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    untruthful: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.untruthful)

    @property
    def end(self) -> str:
        """The status it has ended with."""
        return str(self.status["status"]) if self.status is not None else "nothing yet"

    @property
    def succeeded(self) -> bool:
        """Whether its status says so."""
        return self.end == "success"

    def was_under_way(self, began: datetime, ended: datetime) -> bool:
        """Whether it had begun, and not ended, at some time in between."""
        instants = [_instant(state) for state in self.states if state["type"] in _CLAIMED]
        return bool(instants) and instants[0] <= ended and instants[-1] >= began


def digest(engine: Engine) -> dict[str, str]:
    """A checksum of the prices, and of each index that tasks compute."""
    with engine.connect() as connection:
        found = {"prices": _checksum(connection, _PRICES)}
        for strategy in STRATEGIES:
            found[strategy] = "".join(
                _checksum(
                    connection,
                    f"select {columns} from {table}"  # noqa: S608 - names of our own
                    " where strategy = :strategy and frequency = :frequency"
                    f" order by {order}",
                    strategy=strategy,
                    frequency=FREQUENCY,
                )
                for table, (columns, order) in _INDEX.items()
            )
    return found


def forget_indexes(engine: Engine) -> None:
    """Remove what computations have stored, so that it is there again only by a computation."""
    with engine.begin() as connection:
        for table in _INDEX:
            where = "frequency = :frequency and session >= :since"
            statement = text(f"delete from {table} where {where}")  # noqa: S608 - names of our own
            connection.execute(statement, {"frequency": FREQUENCY, "since": SINCE})


def _checksum(connection: Connection, query: str, **values: str) -> str:
    rows = hashlib.sha256()
    options = connection.execution_options(yield_per=10_000)
    for row in options.execute(text(query), values):
        rows.update(repr(tuple(row)).encode())
    return rows.hexdigest()[:16]


def verdicts(
    storm: Storm,
    statuses: Mapping[str, Mapping[str, Any] | None],
    quiet: Mapping[str, str],
) -> list[Verdict]:
    """One for each task that was asked for."""
    stage = storm.stage
    now = digest(stage.engine)
    differs = {name for name in quiet if quiet[name] != now[name]}
    found = [
        Verdict(task, statuses.get(task.task_id or ""), _states(stage, task.task_id))
        for task in storm.asked
    ]
    for verdict in found:
        _judge_end(verdict)
        _judge_data(verdict, differs)
        if verdict.task.path == "generate-report" and verdict.task.task_id:
            _judge_file(stage, verdict)
            _judge_mail(stage, verdict)
    return found


def _judge_end(verdict: Verdict) -> None:
    if verdict.task.task_id is None:
        verdict.lost.append("never accepted")
        return
    if verdict.status is None:
        verdict.lost.append("has not ended")
        return
    ends = _ends(verdict.states)
    if ends != 1:
        verdict.doubled.append(f"has ended {ends} times")
    if verdict.status["status"] == "failure" and not verdict.status["error"]:
        verdict.untruthful.append("failed without a reason")
    if verdict.status["status"] == "revoked":
        verdict.untruthful.append("revoked, though nobody has cancelled it")


def _judge_data(verdict: Verdict, differs: set[str]) -> None:
    index = verdict.task.body.get("strategy", "prices")
    if verdict.succeeded and verdict.task.path != "generate-report" and index in differs:
        verdict.untruthful.append(f"success, but {index} is not what a quiet run leaves")


def _judge_file(stage: Stage, verdict: Verdict) -> None:
    folder = stage.settings.reports_dir / str(verdict.task.task_id)
    made = [path for path in _files(folder) if filenames.is_report(path.name)]
    if len(made) > 1:
        verdict.doubled.append(f"{len(made)} report files")
    if verdict.succeeded:
        answer = stage.app.http.get(f"/api/v1/reports/{verdict.task.task_id}/file")
        expected = (verdict.status or {})["result"]["sha256"]
        if hashlib.sha256(answer.content).hexdigest() != expected:
            verdict.untruthful.append("success, but its file is not what it says")


def _judge_mail(stage: Stage, verdict: Verdict) -> None:
    """Sent: once. Unknown: at most once. A task that failed has sent none."""
    count = stage.mail.mails[str(verdict.task.task_id)]
    if count > 1:
        verdict.doubled.append(f"{count} mails")
    if verdict.succeeded:
        said = (verdict.status or {})["result"]["email"]
        if said not in ("sent", "unknown") or (said == "sent" and not count):
            verdict.untruthful.append(f"mail {said!r}, but {count} mails")
    elif verdict.status is not None and count:
        verdict.untruthful.append("failed, but its mail went out")


def _ends(states: Sequence[Mapping[str, Any]]) -> int:
    """How often a run has ended after it ran; what came too late was put back."""
    ended = [state["type"] in FINAL for state in states if state["type"] in RAN]
    return sum(now and not before for before, now in pairwise([False, *ended]))


def _states(stage: Stage, task_id: str | None) -> list[dict[str, Any]]:
    """The states that a task's run has had, in their order."""
    if task_id is None:
        return []
    with stage.prefect_client() as prefect:
        answer = prefect.get("flow_run_states/", params={"flow_run_id": task_id})
    return sorted(answer.raise_for_status().json(), key=_instant)


def story(stage: Stage, verdict: Verdict) -> str:
    """What is known of a task that did not end well: its states, and all that it has logged."""
    task_id = verdict.task.task_id
    asked = {"logs": {"flow_run_id": {"any_": [task_id]}}, "sort": "TIMESTAMP_ASC"}
    with stage.prefect_client() as prefect:
        logs = prefect.post("logs/filter", json=asked).raise_for_status().json()
    return "\n".join(
        [
            f"task {task_id}: {verdict.task.path} {verdict.task.body}",
            *(f"  {name}: {', '.join(found)}" for name, found in wrongs(verdict).items() if found),
            *(f"  {s['timestamp']} {s['name']}: {s['message']}" for s in verdict.states),
            *(f"  {line['timestamp']} {line['message']}" for line in logs),
        ]
    )


def wrongs(verdict: Verdict) -> dict[str, list[str]]:
    """What is wrong, by its kind."""
    return {kind: getattr(verdict, kind) for kind in wrongs_kinds()}


def extra_runs(storm: Storm, since: datetime) -> int:
    """Runs that somebody's request has made beside the one that it was told of."""
    asked = {"flow_runs": {"expected_start_time": {"after_": since.isoformat()}}, "limit": 200}
    known = {task.task_id for task in storm.asked}
    extra, offset = 0, 0
    with storm.stage.prefect_client() as prefect:
        while page := prefect.post("flow_runs/filter", json=asked | {"offset": offset}).json():
            extra += sum(run["id"] not in known for run in page)
            offset += len(page)
    return extra


def left_behind(stage: Stage) -> dict[str, int]:
    """What nobody holds or needs any more, and is there all the same; after a while at most."""
    deadline = time.monotonic() + _LEFT_SECONDS
    while any((left := _left(stage)).values()) and time.monotonic() < deadline:
        time.sleep(1)
    return left


def _left(stage: Stage) -> dict[str, int]:
    queries = {
        "leases held": "select count(*) from leases where holder is not null",
        "mails claimed without an end": "select count(*) from deliveries where status = 'claimed'",
        "locks held": "select count(*) from pg_locks where locktype = 'advisory' and database ="
        " (select oid from pg_database where datname = current_database())",
        "transactions left open": "select count(*) from pg_stat_activity"
        " where state like 'idle in transaction%' and datname = current_database()",
    }
    with stage.engine.connect() as connection:
        found = {name: int(connection.scalar(text(query))) for name, query in queries.items()}
    _, unknown = temporary_files(stage)
    return found | {"temporary files that no cleanup knows": unknown}


def temporary_files(stage: Stage) -> tuple[int, int]:
    """Those that killed attempts have left and a cleanup removes, and others."""
    unfinished = [
        path
        for path in stage.settings.reports_dir.rglob("*")
        if path.is_file() and not filenames.is_report(path.name)
    ]
    known = [path for path in unfinished if filenames.is_unfinished(path.name)]
    temporary = _files(stage.settings.temporary_dir)
    ours = [path for path in temporary if path.name.startswith("autoindex-")]
    folders = [path for path in ours if filenames.is_run_folder(path.name)]
    return len(known) + len(folders), len(unfinished) - len(known) + len(ours) - len(folders)


def table(storm: Storm, found: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """A line for each fault: how often, tasks affected, and what became of them.

    A task that failed, and says why, is not wrong: it may have been asked too much.
    """
    rows = [("fault", "times", "tasks", "failed", *wrongs_kinds())]
    times = Counter(strike.fault.name for strike in storm.strikes)
    for name in sorted(times):
        spans = [
            (one.began, one.ended)
            for one in storm.strikes
            if one.fault.name == name and one.ended is not None
        ]
        hit = [one for one in found if any(one.was_under_way(*span) for span in spans)]
        rows.append((name, str(times[name]), *_counted(hit)))
    return [*rows, ("all", str(len(storm.strikes)), *_counted(found))]


def _counted(found: Sequence[Verdict]) -> list[str]:
    wrong = [sum(bool(wrongs(one)[kind]) for one in found) for kind in wrongs_kinds()]
    return [
        str(number) for number in (len(found), sum(one.end == "failure" for one in found), *wrong)
    ]


def wrongs_kinds() -> tuple[str, ...]:
    """The kinds of what can be wrong."""
    return ("lost", "doubled", "untruthful")


def _instant(state: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(state["timestamp"]))


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []
