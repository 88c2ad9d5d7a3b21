"""Reports on a file system that hangs: their downloads wait, and nothing else does."""

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
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

from api.report_folder import ReportFolder
from autoindex.settings import Settings
from autoindex.storage import reports
from tests.api.answers import client

pytestmark = pytest.mark.anyio

# More than there are threads that everybody shares; of several users, each of whom has six places.
USERS, EACH = 11, 4
CONTENT = b"%PDF-1.7 a report"


@pytest.fixture
def report(settings: Settings, api_engine: Engine) -> Iterator[UUID]:
    task_id = uuid4()
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    path = settings.reports_dir / f"{task_id}.pdf"
    path.write_bytes(CONTENT)
    about = (date(2022, 12, 19), date(2022, 12, 23), path.name, "application/pdf")
    stored = reports.StoredReport(
        task_id, "weekly", "pdf", *about, len(CONTENT), "0" * 64, None, datetime.now(UTC)
    )
    with api_engine.begin() as connection:
        reports.record(connection, stored)
    yield task_id
    path.unlink()


@pytest.fixture
def back() -> Iterator[threading.Event]:
    """Set when the file system answers again; a test that fails goes on after a while."""
    made = threading.Event()
    yield made
    made.set()


@asynccontextmanager
async def downloads(app: FastAPI, report: UUID) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """More at once than there are threads to share."""
    users = [client(app, f"user-{number}") for number in range(USERS)]
    url = f"/api/v1/reports/{report}/file"
    asked = [asyncio.create_task(user.get(url)) for user in users for _ in range(EACH)]
    await asyncio.sleep(0.5)
    yield asked
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    for user in users:
        await user.aclose()


async def others_go_on(http: httpx.AsyncClient) -> None:
    began = time.monotonic()
    assert (await http.get("/health")).status_code == 200
    async with asyncio.timeout(5):
        await to_thread.run_sync(time.monotonic)
    assert time.monotonic() - began < 2
    ours = [one for one in threading.enumerate() if one.name.startswith("report-folder")]
    assert len(ours) <= 4


async def test_a_folder_that_hangs_holds_up_its_downloads_only(
    app: FastAPI,
    http: httpx.AsyncClient,
    report: UUID,
    back: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve = Path.resolve

    def hanging(path: Path, strict: bool = False) -> Path:
        if path.name == f"{report}.pdf":
            back.wait(20)
        return resolve(path, strict)

    monkeypatch.setattr(Path, "resolve", hanging)
    async with downloads(app, report) as asked:
        await others_go_on(http)
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {503}
    back.set()
    assert (await http.get(f"/api/v1/reports/{report}/file")).content == CONTENT


class Stuck(io.BytesIO):
    """A file whose reads hang."""

    def __init__(self, back: threading.Event) -> None:
        super().__init__(CONTENT)
        self.back = back

    def read(self, size: int | None = -1) -> bytes:
        self.back.wait(20)
        return super().read(size)


async def test_nor_does_one_that_hangs_during_the_download(
    app: FastAPI,
    http: httpx.AsyncClient,
    report: UUID,
    back: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = io.open

    def hanging(path: Any, *args: Any, **kwargs: Any) -> Any:
        its = str(path).endswith(f"{report}.pdf")
        return Stuck(back) if its else opened(path, *args, **kwargs)

    monkeypatch.setattr("io.open", hanging)
    monkeypatch.setattr("builtins.open", hanging)
    async with downloads(app, report) as asked:
        await others_go_on(http)
        assert not any(one.done() for one in asked)
        began = time.monotonic()
    assert time.monotonic() - began < 2  # those who give up wait for nothing
    back.set()
    assert (await http.get(f"/api/v1/reports/{report}/file")).content == CONTENT


async def test_only_files_of_the_folder_are_found(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path / "reports")
    (tmp_path / "reports" / "made").mkdir(parents=True)
    (tmp_path / "reports" / "made" / "one.pdf").write_bytes(CONTENT)
    (tmp_path / "secret.pdf").write_bytes(CONTENT)
    found = await folder.find("made/one.pdf")
    assert found is not None
    assert found.stat.st_size == len(CONTENT)
    for other in ("made", "made/two.pdf", "made/one.pdf/x", "../secret.pdf", "/etc/passwd"):
        assert await folder.find(other) is None
    folder.close()
