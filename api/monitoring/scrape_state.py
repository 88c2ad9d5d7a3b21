"""What the processes of one facade know of the last time that one of them asked for all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from math import inf
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, Field


class LastScrape(BaseModel):
    """When the parts were last asked, by the clock that all processes share, and what was seen."""

    at: float = -inf
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    seen: set[UUID] = set()


class ScrapeLock:
    """Lets one process ask at a time; without a folder there is one process."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / "asked.json"
        self._asked = LastScrape()

    @contextmanager
    def acquire(self) -> Iterator[LastScrape | None]:
        """What is known, to be changed; None while another process asks."""
        if self._file is None:
            yield self._asked
            return
        with self._file.open("a+") as file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                yield None
                return
            file.seek(0)
            text = file.read()
            asked = LastScrape.model_validate_json(text) if text else self._asked
            yield asked
            file.truncate(0)
            file.write(asked.model_dump_json())
