"""The operators' guide, compose.yaml and systemd's units name what exists."""

import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from autoindex.settings import Settings
from deployments.alerts import automations

PROJECT = Path(__file__).resolve().parent.parent
GUIDE = (PROJECT / "docs" / "operations.md").read_text()
COMPOSE = (PROJECT / "compose.yaml").read_text()
UNITS = sorted((PROJECT / "deployments" / "systemd").glob("*.service"))


def test_every_alert_is_explained() -> None:
    listed = automations.notices(UUID(int=0), "http://ui", timedelta(minutes=2))
    names = {notice.name.removeprefix("Autoindex: ") for notice in listed}
    section = GUIDE.partition("## Respond to an alert")[2]
    assert set(re.findall(r"^\| ([\w ]+) \|", section, re.M)) >= names


def test_every_worker_is_told_its_type() -> None:
    """Without it a worker exits if Prefect is unavailable at its start."""
    paths = (*PROJECT.glob("docs/*.md"), PROJECT / "Dockerfile", *UNITS)
    texts = [path.read_text() for path in paths]
    commands = re.findall(r'prefect[", ]+worker[", ]+start.*', "\n".join(texts))
    assert len(commands) == 4
    for command in commands:
        assert re.search(r'--type[", ]+autoindex', command), command


def test_every_setting_they_name_exists() -> None:
    texts = [GUIDE, COMPOSE, *(unit.read_text() for unit in UNITS)]
    named = set(re.findall(r"AUTOINDEX_([A-Z_]+)", "".join(texts)))
    assert len(named) > 10
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_part_is_in_a_container() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    assert set(services) == {"postgres", "redis", "prefect", "bootstrap", "facade", "worker"}
    # Access to Prefect's API decides which code workers run.
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
    shared = services["worker"]["environment"]
    assert services["facade"]["environment"] == shared == services["bootstrap"]["environment"]
    assert "AUTH_STRING" in " ".join(shared)


def test_units_are_valid(tmp_path: Path) -> None:
    """As far as systemd can tell without running them."""
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("systemd is not installed")
    made = [tmp_path / unit.name for unit in UNITS]
    for unit, copy in zip(UNITS, made, strict=True):
        text = unit.read_text().replace("/opt/autoindex", str(PROJECT))
        copy.write_text(text.replace("User=autoindex", "User=daemon"))
    command = ["systemd-analyze", "verify", "--man=no", *map(str, made)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in verified.stderr.splitlines() if str(tmp_path) in line]
    assert (verified.returncode, ours) == (0, [])


def test_a_worker_has_time_to_drain() -> None:
    """Longer than its drain lasts, so that the service manager does not kill it."""
    (worker,) = [unit.read_text() for unit in UNITS if "worker" in unit.name]
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", worker, re.M)
    (grace,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    assert min(int(seconds), int(grace)) > Settings.model_fields["drain_seconds"].default + 10
