"""Lists of tasks: equal requests at the same time share one read."""

from collections.abc import Sequence
from typing import Final

from api.tasks.deadline import Deadline
from api.tasks.loader import BatchLoader
from api.tasks.runner import Activity, Page, Place, Query, TaskRunner

# One list a read: each is work for Prefect's database.
_MOST_IN_ONE: Final = 1
_NOW: Final = "now"

_Wanted = tuple[Query, int, int, Place | None]


class TaskLists:
    """Reads lists from the task runner; no list is older than its request."""

    def __init__(self, runner: TaskRunner, deadline: Deadline) -> None:
        self._runner = runner
        self._pages: BatchLoader[_Wanted, Page] = BatchLoader(
            self._read_page, deadline, _MOST_IN_ONE, is_busy=runner.is_busy
        )
        self._activity: BatchLoader[str, Activity] = BatchLoader(
            self._read_activity, deadline, is_busy=runner.is_busy
        )

    async def search(
        self, query: Query, *, page: int, per_page: int, after: Place | None = None
    ) -> Page:
        """A page of the tasks that are due or were, newest first; counted from `after`."""
        found = await self._pages.get((query, page, per_page, after))
        return found or Page((), 0)

    async def activity(self) -> Activity:
        """What is running, due and scheduled."""
        found = await self._activity.get(_NOW)
        return found or Activity(Page((), 0), Page((), 0), Page((), 0), (), ())

    async def _read_page(self, wanted: Sequence[_Wanted]) -> dict[_Wanted, Page]:
        return {
            one: await self._runner.search(one[0], page=one[1], per_page=one[2], after=one[3])
            for one in wanted
        }

    async def _read_activity(self, wanted: Sequence[str]) -> dict[str, Activity]:
        return dict.fromkeys(wanted, await self._runner.activity())
