"""Reports on a file system that hangs: their downloads wait, and nothing else does."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy import Engine

from api.routes.report_folder import ReportFolder
from autoindex.settings import Settings
from autoindex.storage import stored_reports
from tests.api.answers import client
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio

# More than there are threads that everybody shares; of several users, each of whom has six places.
USERS, EACH = 11, 4
THREADS = 4
CONTENT = b"%PDF-1.7 a report"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A facade that gives up soon on what hangs."""
    return settings.model_copy(update={"api_answer_seconds": 4.5})


@pytest.fixture
def report(settings: Settings, api_engine: Engine) -> Iterator[UUID]:
    task_id = uuid4()
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    path = settings.reports_dir / f"{task_id}.pdf"
    path.write_bytes(CONTENT)
    about = (date(2022, 12, 19), date(2022, 12, 23), path.name, "application/pdf")
    stored = stored_reports.StoredReport(
        task_id, "weekly", "pdf", *about, len(CONTENT), "0" * 64, None, datetime.now(UTC)
    )
    with api_engine.begin() as connection:
        stored_reports.record(connection, stored)
    yield task_id
    path.unlink()


class Hanging:
    """A file system that answers again when `back` is set; whoever asked it, and has an answer."""

    def __init__(self) -> None:
        self.back = threading.Event()
        self.asked: list[str] = []
        self.answered = 0

    def wait(self) -> None:
        self.asked.append(threading.current_thread().name)
        self.back.wait(HANG_SECONDS)
        self.answered += 1


@pytest.fixture
def disk() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.back.set()


@asynccontextmanager
async def downloads(
    app: FastAPI, report: UUID, disk: Hanging
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """More at once than there are threads to share, as many as may of which ask the disk."""
    users = [client(app, f"user-{number}") for number in range(USERS)]
    url = f"/api/v1/reports/{report}/file"
    asked = [asyncio.create_task(user.get(url)) for user in users for _ in range(EACH)]
    await until(lambda: len(disk.asked) >= THREADS)
    yield asked
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    for user in users:
        await user.aclose()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not true():
            await asyncio.sleep(0.01)


async def others_go_on(http: httpx.AsyncClient, disk: Hanging) -> None:
    assert (await http.get("/health")).status_code == 200
    await to_thread.run_sync(str)
    assert len(disk.asked) == THREADS
    assert all(name.startswith("report-folder") for name in disk.asked)
    assert not disk.answered


async def test_a_folder_that_hangs_holds_up_its_downloads_only(
    app: FastAPI,
    http: httpx.AsyncClient,
    report: UUID,
    disk: Hanging,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve = Path.resolve

    def hanging(path: Path, strict: bool = False) -> Path:
        if path.name == f"{report}.pdf":
            disk.wait()
        return resolve(path, strict)

    monkeypatch.setattr(Path, "resolve", hanging)
    async with downloads(app, report, disk) as asked:
        await others_go_on(http, disk)
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {503}
    assert not disk.answered
    disk.back.set()
    assert (await http.get(f"/api/v1/reports/{report}/file")).content == CONTENT


class Stuck(io.BytesIO):
    """A file whose reads hang."""

    def __init__(self, disk: Hanging) -> None:
        super().__init__(CONTENT)
        self.disk = disk

    def read(self, size: int | None = -1) -> bytes:
        self.disk.wait()
        return super().read(size)


async def test_nor_does_one_that_hangs_during_the_download(
    app: FastAPI,
    http: httpx.AsyncClient,
    report: UUID,
    disk: Hanging,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = io.open

    def hanging(path: Any, *args: Any, **kwargs: Any) -> Any:
        its = str(path).endswith(f"{report}.pdf")
        return Stuck(disk) if its else opened(path, *args, **kwargs)

    monkeypatch.setattr("io.open", hanging)
    monkeypatch.setattr("builtins.open", hanging)
    async with downloads(app, report, disk) as asked:
        await others_go_on(http, disk)
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {503}
    assert not disk.answered  # those who give up wait for nothing
    disk.back.set()
    assert (await http.get(f"/api/v1/reports/{report}/file")).content == CONTENT


async def test_only_files_of_the_folder_are_found(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path / "reports")
    (tmp_path / "reports" / "made").mkdir(parents=True)
    (tmp_path / "reports" / "made" / "one.pdf").write_bytes(CONTENT)
    (tmp_path / "secret.pdf").write_bytes(CONTENT)
    assert await folder.read("made/one.pdf") == CONTENT
    for other in ("made", "made/two.pdf", "made/one.pdf/x", "../secret.pdf", "/etc/passwd"):
        assert await folder.read(other) is None
    folder.close()
