"""Tasks asked for while faults strike, and all of them waited for."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from tests.bounds import HANG_SECONDS
from tests.end_to_end.chaos.faults import Fault, NotHere
from tests.end_to_end.chaos.stage import Stage
from tests.end_to_end.chaos.tasks import Task

ENDED: Final = ("success", "failure", "revoked")
_TICK_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 10.0


@dataclass
class Strike:
    """A fault that has begun; `ended` is None while it lasts."""

    fault: Fault
    target: Any
    course: Iterator[float]
    ends_at: float
    began: datetime
    ended: datetime | None = None


@dataclass
class Storm:
    """Tasks and faults on one stage."""

    stage: Stage
    say: Callable[[str], None]
    asked: list[Task] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    not_here: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._http = httpx.Client(
            base_url=self.stage.app.http.base_url,
            headers=self.stage.app.http.headers,
            timeout=_ANSWER_SECONDS,
            trust_env=False,
        )

    def close(self) -> None:
        """End every fault, and ask no more."""
        for strike in self._under_way():
            self._end(strike)
        self._http.close()

    def quiet(self, tasks: Iterable[Task]) -> None:
        """Tasks without a fault, before those that are judged."""
        self.blow(list(tasks), [], 0)
        for task_id, status in self.settle(HANG_SECONDS).items():
            assert status is not None, task_id
            assert status["status"] == "success", status
        self.asked = []

    def blow(self, tasks: Sequence[Task], faults: Sequence[Fault], every: float) -> None:
        """Spread the tasks over the faults, of which one begins every so many seconds."""
        began, total = time.monotonic(), max(1, len(faults)) * every
        waiting, coming = list(tasks), list(faults)
        while waiting or coming:
            gone = time.monotonic() - began
            due = waiting and gone >= (len(tasks) - len(waiting)) * total / len(tasks)
            if due and self._is_accepted(waiting[0]):
                self.asked.append(waiting.pop(0))
            if coming and gone >= (len(faults) - len(coming) + 0.5) * every:
                self._strike_one(coming)
            self._tick()

    def settle(self, seconds: float) -> dict[str, dict[str, Any] | None]:
        """Let faults end, and tasks; their statuses by id, None for those that have not ended."""
        deadline = time.monotonic() + seconds
        statuses: dict[str, dict[str, Any] | None] = {
            task.task_id: None for task in self.asked if task.task_id is not None
        }
        while time.monotonic() < deadline:
            self._tick()
            left = [task_id for task_id, status in statuses.items() if status is None]
            for task_id in left:
                statuses[task_id] = self._ended(task_id)
            if not left and not self._under_way():
                break
        return statuses

    def _ended(self, task_id: str) -> dict[str, Any] | None:
        with suppress(httpx.TransportError):
            answer = self._http.get(f"/api/v1/background/status/{task_id}")
            if answer.is_success and answer.json()["status"] in ENDED:
                return dict(answer.json())
        return None

    def _is_accepted(self, task: Task) -> bool:
        """Ask for it, again under the same key where the answer was none or "later"."""
        url, key = f"/api/v1/background/{task.path}", {"Idempotency-Key": task.key}
        with suppress(httpx.TransportError):
            answer = self._http.post(url, json=task.body, headers=key)
            if answer.status_code == httpx.codes.ACCEPTED:
                task.task_id = answer.json()["task_id"]
                return True
            assert answer.status_code in (409, 429, 503), answer.text
        return False

    def _strike_one(self, coming: list[Fault]) -> None:
        """The first that finds its target in peace; all wait where none does."""
        busy = [strike.target for strike in self._under_way()]
        for fault in coming:
            targets = [one for one in self.stage.targets(fault.strikes) if one not in busy]
            if targets:
                coming.remove(fault)
                self._begin(fault, self.stage.random.choice(targets))
                return

    def _begin(self, fault: Fault, target: Any) -> None:
        began, course = datetime.now(UTC), fault.course(self.stage, target)
        try:
            seconds = next(course)
        except NotHere as reason:
            self.not_here[fault.name] = str(reason)
            return
        self.say(f"{began:%H:%M:%S} {fault.name} ({target}), {seconds:.0f} s")
        self.strikes.append(Strike(fault, target, course, time.monotonic() + seconds, began))

    def _tick(self) -> None:
        """End what has lasted long enough, and start again what has ended by itself."""
        for strike in self._under_way():
            if strike.ends_at <= time.monotonic():
                self._end(strike)
        for part in self.stage.parts:
            part.keep_up()
        time.sleep(_TICK_SECONDS)

    def _end(self, strike: Strike) -> None:
        next(strike.course, None)
        strike.ended = datetime.now(UTC)

    def _under_way(self) -> list[Strike]:
        return [strike for strike in self.strikes if strike.ended is None]
