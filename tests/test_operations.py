"""The operators' guide and compose.yaml name what exists."""

import re
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import yaml

from autoindex.settings import Settings
from deployments.alerts import automations

PROJECT = Path(__file__).resolve().parent.parent
GUIDE = (PROJECT / "docs" / "operations.md").read_text()
COMPOSE = (PROJECT / "compose.yaml").read_text()


def test_every_alert_is_explained() -> None:
    listed = automations.notices(UUID(int=0), "http://ui", timedelta(minutes=2))
    names = {notice.name.removeprefix("Autoindex: ") for notice in listed}
    section = GUIDE.partition("## Respond to an alert")[2]
    assert set(re.findall(r"^\| ([\w ]+) \|", section, re.M)) >= names


def test_every_worker_is_told_its_type() -> None:
    """Without it a worker exits if Prefect is unavailable at its start."""
    texts = [path.read_text() for path in (*PROJECT.glob("docs/*.md"), PROJECT / "Dockerfile")]
    commands = re.findall(r'prefect[", ]+worker[", ]+start.*', "\n".join(texts))
    assert len(commands) == 3
    for command in commands:
        assert re.search(r'--type[", ]+autoindex', command), command


def test_every_setting_they_name_exists() -> None:
    named = set(re.findall(r"AUTOINDEX_([A-Z_]+)", GUIDE + COMPOSE))
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
