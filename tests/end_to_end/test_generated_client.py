"""A client is made from the contract, as an app team would, and does the main job."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.auth import tokens
from deployments.local.stack import Stack
from tests.bounds import HANG_SECONDS
from tests.end_to_end.conftest import EVERYTHING, App

# In an environment of its own, which `make test` makes: it needs an older Typer than Autoindex.
GENERATOR = Path(sys.prefix, "client-generator/bin/python")
PROGRAM = Path(__file__).with_name("written_by_an_app_team.py")
CONFIG = {
    "post_hooks": [],
    # The generator knows no other media type for bytes.
    "content_type_overrides": {
        "application/pdf": "application/octet-stream",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": (
            "application/octet-stream"
        ),
    },
}


@pytest.fixture
def generator() -> str:
    if not GENERATOR.exists():
        reason = "the generator of clients is not installed: make .venv/client-generator"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return str(GENERATOR)


def run(*command: str, python: str = sys.executable, **more: Any) -> str:
    ended = subprocess.run(
        [python, *command],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
        **more,
    )
    assert ended.returncode == 0, ended.stderr or ended.stdout
    return ended.stdout


@pytest.mark.usefixtures("refreshed")
def test_a_client_made_from_the_contract_does_the_main_job(
    stack: Stack, app: App, generator: str, tmp_path: Path
) -> None:
    contract, config = tmp_path / "openapi.json", tmp_path / "config.json"
    contract.write_text(app.http.get("/openapi.json").text)
    config.write_text(json.dumps(CONFIG))
    package = tmp_path / "autoindex_client"
    options = ["--path", str(contract), "--config", str(config), "--fail-on-warning"]
    target = ["--meta", "none", "--output-path", str(package)]
    run("-m", "openapi_python_client", "generate", *options, *target, python=generator)
    run("-m", "compileall", "-q", str(package))

    token = tokens.mint(stack.settings, "app", EVERYTHING, timedelta(minutes=10))
    report = tmp_path / "report.pdf"
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = json.loads(run(str(PROGRAM), stack.api_url, token, str(report), env=env))
    assert told == {
        "refreshed": 2,
        "computed": "2022-12-28",
        "newest": ["2022-12-28", "2022-12-27"],
        "metrics": 1,
        "too_late": [409, "urn:problem-type:autoindex:task-ended"],
    }
    assert report.read_bytes().startswith(b"%PDF-")
