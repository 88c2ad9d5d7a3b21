"""The last scrape of the parts, shared by the processes of one facade."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from math import inf
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, Field


class LastScrape(BaseModel):
    """When the parts were last read, by a clock shared by all processes, and the runs seen."""

    at: float = -inf
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    seen: set[UUID] = set()


class ScrapeLock:
    """Lets one process read the parts at a time; without a folder there is only one."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / "scrape.json"
        self._last = LastScrape()

    @contextmanager
    def acquire(self) -> Iterator[LastScrape | None]:
        """The last scrape, to be updated; None while another process holds it."""
        if self._file is None:
            yield self._last
            return
        with self._file.open("a+") as file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                yield None
                return
            file.seek(0)
            text = file.read()
            last = LastScrape.model_validate_json(text) if text else self._last
            yield last
            file.truncate(0)
            file.write(last.model_dump_json())
