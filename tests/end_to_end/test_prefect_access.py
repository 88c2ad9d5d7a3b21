"""Who may use the local stack's Prefect server: whoever reads its owner's file."""

import stat

import httpx

from deployments.local import local_secret
from deployments.local.stack import Stack
from tests.bounds import HANG_SECONDS
from tests.end_to_end.conftest import prefect_client


def stranger(running: Stack) -> httpx.Client:
    """Another user of the machine, or a page in its owner's browser."""
    url = f"{running.prefect_url}/api/"
    return httpx.Client(base_url=url, timeout=HANG_SECONDS, trust_env=False)


def deployment(running: Stack) -> str:
    with prefect_client(running) as prefect:
        found = prefect.get("deployments/name/refresh-market-data/refresh")
    return str(found.raise_for_status().json()["id"])


def test_without_the_password_nothing_is_said_or_done(stack: Stack) -> None:
    made = f"deployments/{deployment(stack)}/create_flow_run"
    with stranger(stack) as prefect:
        guess = ("admin", "admin")
        for answer in (
            prefect.post(made, json={"job_variables": {"command": "id"}}),
            prefect.post(made, json={}, auth=guess),
            prefect.post("flow_runs/filter", json={}),
            prefect.get("admin/settings"),
        ):
            assert answer.status_code == 401, answer.url


def test_with_the_password_a_run_names_no_command(stack: Stack) -> None:
    made = f"deployments/{deployment(stack)}/create_flow_run"
    with prefect_client(stack) as prefect:
        answer = prefect.post(made, json={"job_variables": {"command": "id"}})
    assert answer.status_code == 422
    assert "'command' was unexpected" in answer.json()["detail"]


def test_only_its_own_pages_may_ask(stack: Stack) -> None:
    port = stack.settings.prefect_port
    own = (f"http://127.0.0.1:{port}", f"http://localhost:{port}")
    with stranger(stack) as prefect:
        for origin in (*own, "http://evil.example", "http://127.0.0.1:1", "null"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            preflight = prefect.options("flow_runs/filter", headers=asked)
            answer = prefect.get("health", headers={"Origin": origin})
            for one in (preflight, answer):
                allowed = one.headers.get("Access-Control-Allow-Origin")
                assert allowed == (origin if origin in own else None)


def test_its_pages_are_the_stacks_own(stack: Stack) -> None:
    # Beside Prefect's code only the first user of an installation could read them.
    page = stack.settings.data_dir / "prefect" / "ui" / "v2" / "index.html"
    with stranger(stack) as prefect:
        assert prefect.get(f"{stack.prefect_url}/v2/").text == page.read_text()


def test_the_password_is_its_owners_alone(stack: Stack) -> None:
    file = local_secret.prefect_login(stack.settings.data_dir)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == stack.prefect_login
