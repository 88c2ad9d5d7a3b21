"""Clients are made from the contract, as an app team would; typed programs do a day with them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.auth import tokens
from clients import generate
from deployments.local.stack import Stack
from tests.bounds import HANG_SECONDS
from tests.end_to_end.conftest import EVERYTHING, App

# What only types can say: who reads this is tsc.
TYPES = """
import type { components } from "./schema.js";

declare const task: components["schemas"]["AnyTaskStatus"];
const retried: string | null = task.retried_as;
if (task.kind === "compute" && task.result !== null && !("skipped" in task.result)) {
  const level: number = task.result.level;
  // @ts-expect-error: another kind's result
  console.log(retried, level, task.result.symbols_processed);
}
const refresh: components["schemas"]["RefreshRequest"] = {};
// @ts-expect-error: no such mode
refresh.mode = "quick";
// @ts-expect-error: a report has a type
const report: components["schemas"]["ReportRequest"] = { format: "pdf" };
console.log(report);
"""


def example(language: str, fence: str) -> str:
    """The example in the page about a client."""
    page = (generate.CLIENTS / language / "README.md").read_text()
    return page.split(f"```{fence}\n")[1].split("```")[0]


def needs(part: Path, target: str) -> None:
    if not part.exists() or (target.startswith("clients") and shutil.which("node") is None):
        reason = f"the generator of clients is not installed: make {target}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def run(*command: str | Path, folder: Path, env: Mapping[str, str] = os.environ) -> str:
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
        cwd=folder,
        env=env,
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


@pytest.fixture
def contract(app: App, tmp_path: Path) -> Path:
    """The contract, as the running facade serves it."""
    written = tmp_path / "openapi.json"
    written.write_text(app.http.get("/openapi.json").text)
    return written


def arguments(stack: Stack, user: str) -> tuple[str, str, str]:
    token = tokens.mint(stack.settings, user, EVERYTHING, timedelta(minutes=10))
    return stack.api_url, token, "report.pdf"


@pytest.mark.usefixtures("refreshed")
def test_a_python_client_is_typed_and_does_a_day(
    stack: Stack, contract: Path, tmp_path: Path
) -> None:
    needs(generate.PYTHON_GENERATOR, ".venv/client-generator")
    program = tmp_path / "a_day.py"
    shutil.copy(generate.CLIENTS / "python" / program.name, program)
    shown = tmp_path / "shown.py"
    shown.write_text(f"token: str\n{example('python', 'python')}")
    generate.python(contract, tmp_path)
    strict = ("--strict", "--config-file=", f"--cache-dir={os.devnull}")
    run(sys.executable, "-m", "mypy", *strict, program, shown, folder=tmp_path)
    told: Any = json.loads(run(sys.executable, program, *arguments(stack, "app"), folder=tmp_path))
    assert told == {
        "same": True,
        "refreshed": 2,
        "computed": "2022-12-28",
        "newest": ["2022-12-28", "2022-12-27"],
        "metrics": 1,
        "report": "application/pdf",
        "online": True,
        "cancelled": "revoked",
        "too_late": [409, "urn:problem-type:autoindex:task-ended"],
        "listed": True,
    }
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.usefixtures("refreshed")
def test_a_typescript_client_is_typed_and_does_a_day(
    stack: Stack, contract: Path, tmp_path: Path
) -> None:
    needs(generate.NODE_MODULES, "clients/typescript/node_modules")
    for name in ("a-day.ts", "package.json", "tsconfig.json"):
        shutil.copy(generate.CLIENTS / "typescript" / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(generate.NODE_MODULES)
    (tmp_path / "types.ts").write_text(TYPES)
    known = "declare const token: string, task_id: string;\n"
    (tmp_path / "shown.ts").write_text(known + example("typescript", "ts"))
    config = json.loads((tmp_path / "tsconfig.json").read_text())
    assert config["compilerOptions"]["strict"]
    config["files"] += ["types.ts", "shown.ts"]
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    generate.typescript(contract, tmp_path)
    run("node", "node_modules/typescript/bin/tsc", folder=tmp_path)
    told: Any = json.loads(run("node", "build/a-day.js", *arguments(stack, "web"), folder=tmp_path))
    assert told == {
        "refreshed": 2,
        "newest": ["2022-12-28", "2022-12-27"],
        "report": "application/pdf",
        "cancelled": "revoked",
        "too_late": [409, "urn:problem-type:autoindex:task-ended"],
        "listed": True,
    }
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
