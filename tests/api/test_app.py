"""The facade over its own HTTP, on a real database and the runner in memory."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Engine, delete, insert, select, text

from api.app import create_app
from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from api.routes import report_file
from api.tasks.runner import Kind
from autoindex import masking
from autoindex.reports.mail import links
from autoindex.settings import Settings
from autoindex.storage.runs import results
from autoindex.storage.tables import assets, prices, reports
from tests.api.answers import client, problem
from tests.api.in_memory import InMemory

pytestmark = pytest.mark.anyio

TASKS = "/api/v1/background"
NOBODYS = "00000000-0000-4000-8000-000000000000"
STARTS = {
    "refresh": ({"mode": "smart"}, "Refresh task queued"),
    "compute-index": ({}, "Index computation task queued"),
    "generate-report": (
        {"report_type": "weekly", "format": "pdf"},
        "Report generation task queued",
    ),
    "cleanup": ({}, "Cleanup task queued"),
}


class TestStarting:
    @pytest.mark.parametrize("path", STARTS)
    async def test_a_post_answers_with_the_documented_shape(
        self, http: httpx.AsyncClient, runner: InMemory, path: str
    ) -> None:
        body, message = STARTS[path]
        answer = await http.post(f"{TASKS}/{path}", json=body)
        assert answer.status_code == 202
        task_id = answer.json()["task_id"]
        assert answer.json() == {"task_id": task_id, "status": "pending", "message": message}
        assert answer.headers["location"] == f"{TASKS}/status/{task_id}"
        assert runner.runs[UUID(task_id)].user == "ada"
        assert (await http.get(answer.headers["location"])).json()["status"] == "pending"

    async def test_the_flow_gets_exactly_the_fields_of_the_request(
        self, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        body = {"mode": "full", "symbols": ["AAPL", "JPM"], "force": True}
        answer = await http.post(f"{TASKS}/refresh", json=body)
        assert runner.runs[UUID(answer.json()["task_id"])].parameters == body

    @pytest.mark.parametrize(
        ("path", "body", "field"),
        [
            ("refresh", {"mode": "some"}, "mode"),
            ("refresh", {"modus": "smart"}, "modus"),
            ("refresh", {"symbols": ["aapl"]}, "symbols.0"),
            ("refresh", {"symbols": ["AAPL", "NOSUCH"]}, "symbols"),
            ("refresh", {"symbols": []}, "symbols"),
            ("refresh", {"force": "yes"}, "force"),
            ("refresh", [], "body"),
            ("compute-index", {"start_date": "2999-01-01"}, "start_date"),
            ("compute-index", {"start_date": "2022-02-30"}, "start_date"),
            ("compute-index", {"start_date": 0}, "start_date"),
            ("compute-index", {"start_date": "2022-01-03T00:00:00Z"}, "start_date"),
            ("compute-index", {"start_date": "2022-02-02", "end_date": "2022-02-01"}, "end_date"),
            ("compute-index", {"strategy": "astrology"}, "strategy"),
            ("generate-report", {"format": "pdf"}, "report_type"),
            ("generate-report", {"report_type": "weekly", "format": "docx"}, "format"),
            ("generate-report", {"report_type": "weekly", "format": "pdf", "email": "x"}, "email"),
            (
                "generate-report",
                {"report_type": "weekly", "format": "pdf", "email": "=?utf-8?q?x?=@example.com"},
                "email",
            ),
            ("cleanup", {"older_than_days": 0}, "older_than_days"),
            ("cleanup", {"older_than_days": 10**30}, "older_than_days"),
            ("cleanup", {"older_than_days": "365"}, "older_than_days"),
            ("cleanup", {"types": ["users"]}, "types.0"),
            ("refresh", {"__prefect_kind": "jinja"}, "__prefect_kind"),
            (
                "refresh",
                {"symbols": [{"a": {"__prefect_kind": "jinja", "template": "{{ 1 }}"}}]},
                "__prefect_kind",
            ),
            ("cleanup", {"dry_run": {"__prefect_kind": "json"}}, "__prefect_kind"),
        ],
    )
    async def test_what_cannot_be_done_is_refused_by_field(
        self, http: httpx.AsyncClient, runner: InMemory, path: str, body: Any, field: str
    ) -> None:
        found = problem(await http.post(f"{TASKS}/{path}", json=body), 422)
        assert field in [error["field"] for error in found["errors"]]
        assert field in found["detail"]
        assert runner.runs == {}

    async def test_a_mail_is_refused_while_mail_is_off(
        self, settings: Settings, runner: InMemory
    ) -> None:
        body = {"report_type": "weekly", "format": "pdf", "email": "ann@example.com"}
        off = create_app(settings.model_copy(update={"smtp_host": None}), runner)
        async with client(off) as http:
            found = problem(await http.post(f"{TASKS}/generate-report", json=body), 422)
        assert [error["field"] for error in found["errors"]] == ["email"]
        assert "AUTOINDEX_SMTP_HOST" in found["detail"]
        assert runner.runs == {}

    async def test_a_recipient_is_kept_in_the_form_that_is_sent_to(
        self, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        for email in ("ann@bücher.example.com", "ann@xn--bcher-kva.example.com"):
            body = {"report_type": "weekly", "format": "pdf", "email": email}
            await http.post(f"{TASKS}/generate-report", json=body)
        sent_to = {run.parameters["email"] for run in runner.runs.values()}
        assert sent_to == {"ann@xn--bcher-kva.example.com"}

    async def test_an_end_before_all_stored_prices_is_refused(
        self, http: httpx.AsyncClient, runner: InMemory, api_engine: Engine
    ) -> None:
        body = {"end_date": "1989-12-29"}
        # Without prices, a refresh that stores them may be ahead of it.
        assert (await http.post(f"{TASKS}/compute-index", json=body)).status_code == 202
        bar: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), 1.0)
        with api_engine.begin() as connection:
            bar["asset_id"] = connection.scalar(select(assets.c.id).limit(1))
            connection.execute(insert(prices).values(session=date(1990, 1, 2), **bar))
        try:
            found = problem(await http.post(f"{TASKS}/compute-index", json=body), 422)
        finally:
            with api_engine.begin() as connection:
                connection.execute(delete(prices))
        assert [error["field"] for error in found["errors"]] == ["end_date"]
        assert "stored sessions run from 1990-01-02 to 1990-01-02" in found["detail"]
        assert len(runner.runs) == 1

    async def test_symbols_outside_the_universe_are_named(self, http: httpx.AsyncClient) -> None:
        answer = await http.post(f"{TASKS}/refresh", json={"symbols": ["AAPL", "ZZZZ", "QQQQ"]})
        assert "QQQQ, ZZZZ" in problem(answer, 422)["detail"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff\xfe",
            b'{"mode": ',
            b"[" * 30_000,
            b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
            b'{"older_than_days": ' + b"9" * 10_000 + b"}",
            b'{"older_than_days": NaN}',
            b'{"\\ud800": 1}',
        ],
    )
    async def test_what_is_no_sane_json_is_refused(
        self, http: httpx.AsyncClient, body: bytes
    ) -> None:
        headers = {"content-type": "application/json"}
        answer = await http.post(f"{TASKS}/cleanup", content=body, headers=headers)
        problem(answer, 422)

    async def test_a_thousand_wrong_fields_do_not_make_a_huge_answer(
        self, http: httpx.AsyncClient
    ) -> None:
        body = {f"field{number}": number for number in range(3_000)}
        answer = await http.post(f"{TASKS}/refresh", json=body)
        problem(answer, 422)
        assert len(answer.content) < 10_000

    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_large_body_is_not_read(self, http: httpx.AsyncClient, announced: bool) -> None:
        sent = 0

        async def flood() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(1_000):
                sent += 1
                yield b" " * 10_000

        headers = {"content-length": "10000000"} if announced else {}
        answer = await http.post(f"{TASKS}/refresh", content=flood(), headers=headers)
        problem(answer, 413)
        assert sent < 150

    async def test_a_key_starts_one_task(self, http: httpx.AsyncClient, app: FastAPI) -> None:
        headers = {"Idempotency-Key": "monday"}
        first = await http.post(f"{TASKS}/refresh", json={"mode": "full"}, headers=headers)
        again = await http.post(f"{TASKS}/refresh", json={"mode": "full"}, headers=headers)
        assert again.status_code == 202
        assert again.json()["task_id"] == first.json()["task_id"]
        assert "already queued" in again.json()["message"]
        other = await http.post(f"{TASKS}/refresh", json={"mode": "smart"}, headers=headers)
        assert first.json()["task_id"] in problem(other, 409)["detail"]
        async with client(app, "bob") as bobs:
            theirs = await bobs.post(f"{TASKS}/refresh", json={"mode": "full"}, headers=headers)
        assert theirs.json()["task_id"] != first.json()["task_id"]


class TestStatus:
    async def test_a_running_task(self, http: httpx.AsyncClient, runner: InMemory) -> None:
        run = runner.schedule(Kind.REFRESH, {}, timedelta())
        run.move("RUNNING")
        answer = (await http.get(f"{TASKS}/status/{run.id}")).json()
        assert answer.pop("started_at") is not None
        assert answer == {
            "task_id": str(run.id),
            "kind": "refresh",
            "status": "started",
            "result": None,
            "error": None,
            "completed_at": None,
            "result_expires_at": None,
            "progress": None,
            "retry_of": None,
            "retried_as": None,
        }

    async def test_a_result_is_served(
        self, http: httpx.AsyncClient, runner: InMemory, api_engine: Engine
    ) -> None:
        run = runner.schedule(Kind.REFRESH, {}, timedelta())
        run.move("RUNNING")
        run.move("COMPLETED")
        result = {"symbols_processed": 20, "records_updated": 7, "duration_seconds": 1.5}
        now = datetime.now(UTC)
        with api_engine.begin() as connection:
            results.store(connection, run.id, "refresh", result, now, timedelta(hours=24))
        answer = (await http.get(f"{TASKS}/status/{run.id}")).json()
        assert answer["status"] == "success"
        assert answer["result"] == result
        assert answer["completed_at"] is not None
        assert datetime.fromisoformat(answer["result_expires_at"]) == now + timedelta(hours=24)

    async def test_an_expired_result_still_succeeded(
        self, http: httpx.AsyncClient, runner: InMemory, api_engine: Engine
    ) -> None:
        run = runner.schedule(Kind.REFRESH, {}, timedelta())
        run.move("COMPLETED")
        stored_at = datetime.now(UTC) - timedelta(hours=25)
        with api_engine.begin() as connection:
            results.store(connection, run.id, "refresh", {}, stored_at, timedelta(hours=24))
        answer = (await http.get(f"{TASKS}/status/{run.id}")).json()
        assert (answer["status"], answer["result"]) == ("success", None)
        assert datetime.fromisoformat(answer["result_expires_at"]) < datetime.now(UTC)

    async def test_a_failure_says_why(self, http: httpx.AsyncClient, runner: InMemory) -> None:
        run = runner.schedule(Kind.REPORT, {}, timedelta())
        message = "Flow run encountered an exception: ReportImpossible: no session this week"
        run.move("FAILED", message=message)
        answer = (await http.get(f"{TASKS}/status/{run.id}")).json()
        assert (answer["status"], answer["error"]) == ("failure", "no session this week")
        assert answer["kind"] == "report"

    async def test_an_unknown_task_is_not_found(self, http: httpx.AsyncClient) -> None:
        problem(await http.get(f"{TASKS}/status/{NOBODYS}"), 404)
        problem(await http.delete(f"{TASKS}/task/{NOBODYS}"), 404)
        problem(await http.get(f"{TASKS}/status/nonsense"), 422)


class TestActive:
    async def test_tasks_stand_by_worker_queue_and_deployment(
        self, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        running = runner.schedule(Kind.REFRESH, {"mode": "full"}, timedelta())
        running.move("RUNNING")
        running.worker = "worker-1"
        queued = runner.schedule(Kind.CLEANUP, {}, timedelta())
        later = runner.schedule(Kind.REPORT, {"email": "ada@example.com"}, timedelta(hours=1))
        answer = await http.get(f"{TASKS}/active")
        assert answer.status_code == 200
        content = answer.json()
        ids = {
            group: {key: [task["task_id"] for task in found] for key, found in groups.items()}
            for group, groups in content.items()
            if group not in ("stats", "paused")
        }
        assert ids == {
            "active": {"worker-1": [str(running.id)]},
            "reserved": {"low_priority": [str(queued.id)]},
            "scheduled": {"generate-report/report": [str(later.id)]},
        }
        assert content["stats"] == {
            "total_active": 1,
            "total_scheduled": 1,
            "total_reserved": 1,
        }
        assert content["paused"] == []
        assert "ada@example.com" not in answer.text

    async def test_without_a_worker_it_says_so(
        self, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        runner.online.clear()
        answer = await http.get(f"{TASKS}/active")
        assert answer.status_code == 200
        assert answer.json()["error"] == "No worker is online"


class TestCancelling:
    async def test_a_queued_task_is_cancelled(
        self, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        queued = await http.post(f"{TASKS}/refresh", json={})
        task_id = queued.json()["task_id"]
        answer = await http.delete(f"{TASKS}/task/{task_id}")
        assert answer.status_code == 202
        assert answer.json() == {
            "task_id": task_id,
            "status": "revoked",
            "message": "Refresh task cancelled",
        }
        assert runner.runs[UUID(task_id)].state_type == "CANCELLED"

    async def test_what_has_ended_is_a_conflict(
        self, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        run = runner.schedule(Kind.REFRESH, {}, timedelta())
        run.move("COMPLETED")
        assert "success" in problem(await http.delete(f"{TASKS}/task/{run.id}"), 409)["detail"]

    async def test_a_task_of_somebody_else_needs_the_scope(
        self, app: FastAPI, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        theirs = (await http.post(f"{TASKS}/refresh", json={})).json()["task_id"]
        scheduled = runner.schedule(Kind.REFRESH, {}, timedelta())
        async with client(app, "bob", ["tasks:run"]) as bob:
            problem(await bob.delete(f"{TASKS}/task/{theirs}"), 403)
            problem(await bob.delete(f"{TASKS}/task/{scheduled.id}"), 403)
        async with client(app, "root", ["tasks:admin"]) as root:
            assert (await root.delete(f"{TASKS}/task/{theirs}")).status_code == 202


class TestLists:
    async def test_tasks_are_paged_and_narrowed(
        self, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        for kind in (Kind.REFRESH, Kind.REPORT, Kind.REFRESH):
            runner.schedule(kind, {}, timedelta())
        page = (await http.get(f"{TASKS}/tasks", params={"per_page": 2})).json()
        assert (page["total"], page["page"], page["per_page"]) == (3, 1, 2)
        assert [task["kind"] for task in page["tasks"]] == ["refresh", "report"]
        narrowed = (await http.get(f"{TASKS}/tasks", params={"kind": "report"})).json()
        assert narrowed["total"] == 1

    @pytest.mark.parametrize(
        ("parameters", "field"),
        [
            ({"kind": "other"}, "kind"),
            ({"page": 0}, "page"),
            ({"per_page": 201}, "per_page"),
            ({"since": "yesterday"}, "since"),
            ({"since": "2022-01-01T00:00:00"}, "since"),
            ({"since": "0001-01-01T00:00:00+23:00"}, "since"),
            ({"user": "a\0b"}, "user"),
            ({"limit": 5}, "limit"),
        ],
    )
    async def test_a_wrong_filter_is_named(
        self, http: httpx.AsyncClient, parameters: dict[str, Any], field: str
    ) -> None:
        found = problem(await http.get(f"{TASKS}/tasks", params=parameters), 422)
        assert [error["field"] for error in found["errors"]] == [field]


class TestReports:
    @pytest.fixture
    def report(self, settings: Settings, api_engine: Engine) -> UUID:
        return self.made(settings, api_engine, "ada")

    def made(self, settings: Settings, engine: Engine, owner: str | None) -> UUID:
        task_id = uuid4()
        content = b"%PDF-1.7 a report " + task_id.bytes
        name = f"weekly-{task_id}.pdf"
        settings.reports_dir.mkdir(parents=True, exist_ok=True)
        (settings.reports_dir / name).write_bytes(content)
        row = {
            "task_id": task_id,
            "report_type": "weekly",
            "format": "pdf",
            "period_start": date(2022, 12, 19),
            "period_end": date(2022, 12, 23),
            "path": name,
            "media_type": "application/pdf",
            "size_bytes": len(content),
            "sha256": sha256(content).hexdigest(),
            "requested_by": owner,
        }
        with engine.begin() as connection:
            connection.execute(reports.insert().values(row))
        return task_id

    async def test_the_file_comes_as_it_was_made(
        self, http: httpx.AsyncClient, report: UUID
    ) -> None:
        answer = await http.get(f"/api/v1/reports/{report}/file")
        assert answer.status_code == 200
        assert answer.content == b"%PDF-1.7 a report " + report.bytes
        assert answer.headers["content-type"] == "application/pdf"
        assert f'filename="weekly-{report}.pdf"' in answer.headers["content-disposition"]
        assert answer.headers["etag"] == f'"{sha256(answer.content).hexdigest()}"'

    async def test_a_part_of_the_file(self, http: httpx.AsyncClient, report: UUID) -> None:
        headers = {"Range": "bytes=0-3"}
        answer = await http.get(f"/api/v1/reports/{report}/file", headers=headers)
        assert (answer.status_code, answer.content) == (206, b"%PDF")

    @pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=-4", "bytes=5-", "bytes=0-999999"])
    async def test_a_download_goes_on_where_it_broke_off(
        self, http: httpx.AsyncClient, report: UUID, asked: str
    ) -> None:
        url = f"/api/v1/reports/{report}/file"
        whole = await http.get(url)
        headers = {"Range": asked, "If-Range": whole.headers["etag"]}
        part = await http.get(url, headers=headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(whole.content) - int(last)
        end = int(last) + 1 if first and last else len(whole.content)
        assert (part.status_code, part.content) == (206, whole.content[start:end])
        assert part.headers["content-range"].startswith(f"bytes {start}-")
        other = await http.get(url, headers={"Range": asked, "If-Range": '"another"'})
        assert (other.status_code, other.content) == (200, whole.content)

    @pytest.mark.parametrize(
        "asked",
        ["bytes", "bytes=", "bytes=a-b", "bytes=9-3", "lines=1-2", "bytes=1-2-3", "bytes=٣-٤"],
    )
    async def test_a_range_that_makes_no_sense_is_ignored(
        self, http: httpx.AsyncClient, report: UUID, asked: str
    ) -> None:
        headers = {"Range": asked.encode()}
        answer = await http.get(f"/api/v1/reports/{report}/file", headers=headers)
        assert answer.status_code == 200

    async def test_a_range_beyond_the_end_is_a_problem(
        self, http: httpx.AsyncClient, report: UUID
    ) -> None:
        url = f"/api/v1/reports/{report}/file"
        size = len((await http.get(url)).content)
        answer = await http.get(url, headers={"Range": f"bytes={size}-"})
        assert str(size) in problem(answer, 416)["detail"]
        assert answer.headers["content-range"] == f"bytes */{size}"
        digits = {"Range": "bytes=" + "9" * 6_000 + "-"}
        assert (await http.get(url, headers=digits)).status_code in (200, 416)

    async def test_a_file_can_be_asked_about(self, http: httpx.AsyncClient, report: UUID) -> None:
        url = f"/api/v1/reports/{report}/file"
        whole, head = await http.get(url), await http.head(url)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-length", "content-type", "etag", "content-disposition"):
            assert head.headers[name] == whole.headers[name]

    async def test_a_file_that_has_not_changed_is_not_sent_again(
        self, http: httpx.AsyncClient, report: UUID
    ) -> None:
        url = f"/api/v1/reports/{report}/file"
        tag = (await http.get(url)).headers["etag"]
        again = await http.get(url, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")

    async def test_whose_report_it_is(
        self, app: FastAPI, report: UUID, settings: Settings, api_engine: Engine
    ) -> None:
        scheduled = self.made(settings, api_engine, None)
        async with client(app, "bob", ["tasks:read"]) as bob:
            problem(await bob.get(f"/api/v1/reports/{report}/file"), 403)
            assert (await bob.get(f"/api/v1/reports/{scheduled}/file")).status_code == 200
        async with client(app, "root", ["tasks:admin"]) as root:
            assert (await root.get(f"/api/v1/reports/{report}/file")).status_code == 200

    async def test_what_is_not_there_is_not_found(
        self, http: httpx.AsyncClient, report: UUID, settings: Settings
    ) -> None:
        problem(await http.get(f"/api/v1/reports/{NOBODYS}/file"), 404)
        (settings.reports_dir / f"weekly-{report}.pdf").unlink()
        problem(await http.get(f"/api/v1/reports/{report}/file"), 404)

    async def test_a_signed_link_opens_one_report_without_a_token(
        self, app: FastAPI, report: UUID, settings: Settings, api_engine: Engine
    ) -> None:
        other = self.made(settings, api_engine, "ada")
        link = links.signed(settings, report, datetime.now(UTC))
        assert link is not None
        async with client(app, None) as stranger:
            answer = await stranger.get(link.partition(settings.public_url)[2])
            assert (answer.status_code, answer.content[-16:]) == (200, report.bytes)
            for wrong in (link[:-4], f"{links.PATH}?link=", f"{links.PATH}?link={other}"):
                answer = await stranger.get(wrong.partition(settings.public_url)[2] or wrong)
                assert problem(answer, 403)["title"] == "Forbidden"
            problem(await stranger.get(links.PATH), 422)
            problem(await stranger.get(f"/api/v1/reports/{other}/file"), 401)
        used_as_token = {"Authorization": f"Bearer {link.partition('=')[2]}"}
        async with client(app, None) as stranger:
            answer = await stranger.get(f"{TASKS}/active", headers=used_as_token)
            problem(answer, 401)


class TestSecurity:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", f"{TASKS}/status/{NOBODYS}"),
            ("GET", f"{TASKS}/active"),
            ("GET", f"{TASKS}/tasks"),
            ("POST", f"{TASKS}/refresh"),
            ("POST", f"{TASKS}/cleanup"),
            ("DELETE", f"{TASKS}/task/{NOBODYS}"),
            ("GET", f"/api/v1/reports/{NOBODYS}/file"),
            ("GET", "/openapi.json"),
            ("GET", "/docs"),
            ("GET", "/nowhere"),
            ("GET", "/api/v1/health"),
            ("GET", "/health/"),
        ],
    )
    async def test_without_a_token_there_is_nothing(
        self, app: FastAPI, method: str, path: str
    ) -> None:
        async with client(app, None) as stranger:
            answer = await stranger.request(method, path)
        problem(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="autoindex"'

    async def test_health_is_open(self, app: FastAPI) -> None:
        async with client(app, None) as stranger:
            assert (await stranger.get("/health")).json() == {"status": "ok"}
            assert (await stranger.get("/ready")).status_code == 200

    @pytest.mark.parametrize(
        ("method", "path", "scopes"),
        [
            ("POST", f"{TASKS}/refresh", ["tasks:read", "tasks:admin"]),
            ("POST", f"{TASKS}/cleanup", ["tasks:read", "tasks:run"]),
            ("GET", f"{TASKS}/tasks", ["tasks:run"]),
            ("GET", f"{TASKS}/active", ["tasks:run"]),
            ("GET", f"{TASKS}/status/{NOBODYS}", ["tasks:run"]),
            ("DELETE", f"{TASKS}/task/{NOBODYS}", ["tasks:read"]),
            ("GET", f"/api/v1/reports/{NOBODYS}/file", ["tasks:run"]),
        ],
    )
    async def test_a_token_opens_what_its_scopes_say(
        self, app: FastAPI, method: str, path: str, scopes: list[str]
    ) -> None:
        async with client(app, "ada", scopes) as opened:
            answer = await opened.request(method, path, json={} if method == "POST" else None)
        assert "scope" in problem(answer, 403)["detail"]
        asked = answer.headers["www-authenticate"]
        assert asked.startswith(
            'Bearer realm="autoindex", error="insufficient_scope", scope="tasks:'
        )

    async def test_an_expired_token_is_refused(self, app: FastAPI) -> None:
        claims = {
            "sub": "ada",
            "iss": "autoindex",
            "aud": "autoindex",
            "exp": time.time() - 120,
        }
        token = jwt.encode(claims, app.state.settings.jwt_secret.get_secret_value())
        async with client(app, None) as opened:
            headers = {"Authorization": f"Bearer {token}"}
            answer = await opened.get(f"{TASKS}/tasks", headers=headers)
        assert "expired" in problem(answer, 401)["detail"]
        asked = answer.headers["www-authenticate"]
        assert asked == 'Bearer realm="autoindex", error="invalid_token"'

    async def test_a_flood_is_held_back_for_its_user_only(
        self, settings: Settings, runner: InMemory
    ) -> None:
        tight = settings.model_copy(update={"requests_per_minute": 5, "tasks_per_minute": 2})
        app = create_app(tight, runner)
        async with app.router.lifespan_context(app), client(app) as ada, client(app, "bob") as bob:
            days = [{"start_date": f"2022-12-0{day}"} for day in range(1, 4)]
            posts = [await ada.post(f"{TASKS}/compute-index", json=day) for day in days]
            reads = [await ada.get(f"{TASKS}/tasks") for _ in range(4)]
            assert (await bob.get(f"{TASKS}/tasks")).status_code == 200
        assert [answer.status_code for answer in posts] == [202, 202, 429]
        assert [answer.status_code for answer in reads] == [200, 200, 200, 429]
        problem(posts[-1], 429)
        assert 1 <= int(posts[-1].headers["retry-after"]) <= 61
        assert posts[-1].headers["ratelimit-limit"] == "2"
        assert [a.headers["ratelimit-remaining"] for a in posts] == ["1", "0", "0"]
        assert reads[0].headers["ratelimit-limit"] == "5"

    async def test_documentation_may_be_shown_to_everybody(
        self, settings: Settings, runner: InMemory
    ) -> None:
        app = create_app(settings.model_copy(update={"api_docs": True}), runner)
        async with client(app, None) as stranger:
            page = (await stranger.get("/docs")).raise_for_status().text
            named = re.findall(r"""(?:src|href)="([^"]+)"|url: '([^']+)'""", page)
            shown = [src or url for src, url in named]
            assert len(shown) == 4
            for path in shown:  # each on this server, not on somebody else's
                assert (await stranger.get(path)).status_code == 200, path
            problem(await stranger.get(f"{TASKS}/tasks"), 401)


class TestTrouble:
    async def test_head_is_answered_wherever_get_is(
        self, app: FastAPI, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        run = runner.schedule(Kind.COMPUTE, {}, timedelta())
        run.move("COMPLETED")
        paths = [path for path, found in app.openapi()["paths"].items() if "get" in found]
        assert len(paths) > 10
        for template in [*paths, "/"]:
            path = template.format(task_id=run.id, batch_id=NOBODYS, webhook_id=NOBODYS)
            head = await http.head(path)
            answer = await http.get(path)
            assert (head.status_code, head.content) == (answer.status_code, b""), path
            own = {"x-request-id", "ratelimit-remaining", "ratelimit-reset", "content-length"}
            assert {*head.headers} - own == {*answer.headers} - own
            refused = await http.put(path)
            operations = app.openapi()["paths"].get(template, {"get": {}})
            allowed = {method.upper() for method in operations} | {"HEAD"}
            assert refused.headers["allow"] == ", ".join(sorted(allowed)), path
        assert (await http.head(f"{TASKS}/refresh")).status_code == 405

    async def test_what_does_not_exist(self, http: httpx.AsyncClient) -> None:
        problem(await http.get("/nowhere"), 404)
        problem(await http.get(f"{TASKS}/status/"), 404)
        answer = await http.put(f"{TASKS}/refresh", json={})
        problem(answer, 405)
        assert answer.headers["allow"] == "POST"

    async def test_without_a_database(self, settings: Settings, runner: InMemory) -> None:
        away = SecretStr("postgresql://nobody@127.0.0.1:1/nowhere")
        app = create_app(settings.model_copy(update={"database_url": away}), runner)
        run = runner.schedule(Kind.REFRESH, {}, timedelta())
        run.move("COMPLETED")
        async with client(app) as http:
            answers = [
                await http.get(f"{TASKS}/status/{run.id}"),
                await http.post(f"{TASKS}/refresh", json={"symbols": ["AAPL"]}),
                await http.get("/ready"),
            ]
        for answer in answers:
            assert "database" in problem(answer, 503)["detail"]
            assert int(answer.headers["retry-after"]) > 0

    async def test_a_database_that_hangs_is_not_waited_for(
        self, settings: Settings, runner: InMemory
    ) -> None:
        app = create_app(settings.model_copy(update={"api_answer_seconds": 4.5}), runner)
        backend = text("select pg_backend_pid()")
        pid = await app.state.database.read(lambda c: c.execute(backend).scalar_one())
        os.kill(pid, signal.SIGSTOP)
        try:
            async with client(app) as http:
                answer = await http.post(f"{TASKS}/refresh", json={"symbols": ["AAPL"]})
        finally:
            os.kill(pid, signal.SIGCONT)
            await app.state.database.aclose()
        assert int(answer.headers["retry-after"]) > 0
        problem(answer, 503)

    async def test_without_a_worker_it_is_not_ready(
        self, http: httpx.AsyncClient, runner: InMemory
    ) -> None:
        runner.online.clear()
        assert "worker" in problem(await http.get("/ready"), 503)["detail"]

    async def test_what_nobody_expected_shows_nothing(
        self, http: httpx.AsyncClient, runner: InMemory, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = runner.schedule(Kind.REFRESH, {}, timedelta())
        run.state_type = "secret-internals"
        answer = await http.get(f"{TASKS}/status/{run.id}")
        problem(answer, 500)
        assert "secret-internals" not in answer.text
        assert "secret-internals" in caplog.text

    async def test_an_answer_repeats_no_secret(self, app: FastAPI, http: httpx.AsyncClient) -> None:
        # As when a facade reads its settings; other tests have read others since.
        masking.hide([app.state.settings.jwt_secret])
        secret = app.state.settings.jwt_secret.get_secret_value()
        assert problem(await http.get(f"/{secret}"), 404)["detail"] == "there is nothing at /***"

    async def test_a_request_id_is_given_or_kept(self, http: httpx.AsyncClient) -> None:
        assert len((await http.get("/health")).headers["x-request-id"]) == 32
        kept = await http.get("/health", headers={"X-Request-ID": "order-66"})
        assert kept.headers["x-request-id"] == "order-66"
        replaced = await http.get("/health", headers={"X-Request-ID": "a b\tc"})
        assert replaced.headers["x-request-id"] != "a b\tc"


async def test_many_who_ask_a_prefect_that_is_silent_are_told_in_time(settings: Settings) -> None:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
    settings = settings.model_copy(update={"api_answer_seconds": 12.0})
    prefect = PrefectRunner(Connection(url=url), answer_seconds=2.0)
    app = create_app(settings, prefect)
    async with client(app, "ada") as ada, client(app, "bob") as bob, client(app, "eve") as eve:
        reads = [
            http.get(f"{TASKS}/status/{uuid4()}") for http in (ada, bob, eve) for _ in range(6)
        ]
        lists = [http.get(f"{TASKS}/tasks?page={n}") for n, http in enumerate((ada, bob, eve), 1)]
        answers = await asyncio.gather(*reads, *lists)
    # Sent and silent, or given up before: nobody waits until his own question has been sent.
    told = {problem(answer, 503)["detail"].partition(";")[0] for answer in answers}
    assert "Prefect does not answer" in told
    assert told <= {
        "Prefect does not answer",
        "Prefect has more requests than it can answer in time",
        "This took too long",
    }
    await prefect.aclose()
    server.close()


async def test_the_contract_names_every_operation_and_its_errors(
    http: httpx.AsyncClient,
) -> None:
    contract = (await http.get("/openapi.json")).json()
    operations = [
        operation for methods in contract["paths"].values() for operation in methods.values()
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) >= 11
    for operation in operations:
        errors = {s: r for s, r in operation["responses"].items() if int(s) >= 400}
        assert "503" in errors
        for answer in errors.values():
            assert list(answer["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in json.dumps(contract)


async def test_every_operation_but_the_open_ones_needs_a_scope(http: httpx.AsyncClient) -> None:
    contract = (await http.get("/openapi.json")).json()
    needs = {
        (method, path): operation.get("security", [])
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
    }
    without = {path for (_, path), scopes in needs.items() if not all(scopes) or not scopes}
    assert without == {"/health", "/ready", links.PATH}
    for scopes in needs.values():
        for one in scopes:
            assert len(one["HTTPBearer"]) == 1
    assert needs["post", f"{TASKS}/cleanup"] == [{"HTTPBearer": ["tasks:admin"]}]


def test_the_contract_knows_the_kinds_of_report_files() -> None:
    from autoindex.reports import files

    assert set(report_file.MEDIA_TYPES) == {kind.media_type for kind in files.KINDS.values()}
