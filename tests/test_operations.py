"""The operators' guide, compose.yaml and systemd's units name what exists."""

import json
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
GUIDE = "".join(page.read_text() for page in PROJECT.glob("docs/operations/*.md"))
COMPOSE = (PROJECT / "compose.yaml").read_text()
PROMETHEUS = PROJECT / "deployments" / "prometheus"
RULES_TEST = PROJECT / "tests" / "deployments" / "alerts" / "prometheus_rules.yml"
UNITS = sorted((PROJECT / "deployments" / "systemd").glob("*.service"))


def test_every_alert_is_explained() -> None:
    listed = automations.notices(UUID(int=0), "http://ui", timedelta(minutes=2))
    names = {notice.name.removeprefix("Autoindex: ") for notice in listed}
    section = GUIDE.partition("## Respond to an alert")[2]
    assert set(re.findall(r"^\| ([\w ]+) \|", section, re.M)) >= names


def test_every_worker_is_told_its_type() -> None:
    """Without it a worker exits if Prefect is unavailable at its start."""
    paths = (*PROJECT.glob("docs/**/*.md"), PROJECT / "Dockerfile", *UNITS)
    texts = [path.read_text() for path in paths]
    commands = re.findall(r'prefect[", ]+worker[", ]+start.*', "\n".join(texts))
    pools = [re.search(r'--pool[", ]+(\w+)', command)[1] for command in commands]
    assert sorted(pools) == [*4 * ["autoindex"], "docker", "kubernetes", "process"]
    for command, pool in zip(commands, pools, strict=True):
        assert re.search(rf'--type[", ]+{pool}', command), command


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


def promtool(folder: Path, *words: str) -> None:
    """Have Prometheus' own tool check something."""
    if shutil.which("promtool") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("promtool is not installed")
    done = subprocess.run(
        ["promtool", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_our_example_and_its_alerts_fire_when_they_should(tmp_path: Path) -> None:
    for path in (*PROMETHEUS.glob("*.yml"), RULES_TEST):
        shutil.copy(path, tmp_path)
    (tmp_path / "token").write_text("secret")
    promtool(tmp_path, "check", "config", "prometheus.yml")
    promtool(tmp_path, "test", "rules", RULES_TEST.name)


def dashboard() -> list[str]:
    """The queries of Grafana's dashboard."""
    panels = json.loads((PROJECT / "deployments" / "grafana" / "autoindex.json").read_text())
    return [target["expr"] for panel in panels["panels"] for target in panel["targets"]]


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(dashboard())]
    text = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    (tmp_path / "rules.yml").write_text(text)
    promtool(tmp_path, "check", "rules", "rules.yml")


def test_every_series_in_rules_and_dashboard_exists() -> None:
    rules = (PROMETHEUS / "rules.yml").read_text()
    asked = set(re.findall(r"\bautoindex[\w:]+", rules + "\n".join(dashboard())))
    served = set(re.findall(r"^\| `(autoindex_\w+)", GUIDE, re.M))
    recorded = set(re.findall(r"record: (\S+)", rules))
    known = served | recorded | {f"{name}_bucket" for name in served}
    assert asked - known == set()


def test_a_worker_has_time_to_drain() -> None:
    """Longer than its drain lasts, so that the service manager does not kill it."""
    (worker,) = [unit.read_text() for unit in UNITS if "worker" in unit.name]
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", worker, re.M)
    (grace,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    assert min(int(seconds), int(grace)) > Settings.model_fields["drain_seconds"].default + 10
