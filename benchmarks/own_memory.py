"""A flow in a process of its own, its memory and processor time read from outside while it runs.

python -m benchmarks.own_memory flows.compute_index compute_index '{"frequency": "weekly"}'
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from autoindex.settings import Settings
from deployments import bootstrap

_SAMPLE_SECONDS = 0.01
_PRIVATE = ("Private_Clean:", "Private_Dirty:")
_HIGHEST = ("VmHWM:",)


@dataclass(frozen=True, slots=True)
class Used:
    """The most memory a process had, in MB, in how many samples and seconds.

    `peak_mb` is its own (USS), as sampled; `resident_mb` is the kernel's own account of the peak,
    which no sample can miss, but counts what is shared with other processes as well. `cpu_seconds`
    are those of the process alone, without its Prefect server and PostgreSQL.
    """

    peak_mb: float
    resident_mb: float
    samples: int
    seconds: float
    cpu_seconds: float


def of_flow(settings: Settings, module: str, name: str, **parameters: Any) -> Used:
    """Run a flow to its end, against a Prefect server of its own; stops where the flow fails.

    That server is a process of its own, and its database stands beside ours.
    """
    bootstrap.create_prefect_database(settings)
    command = [sys.executable, "-m", "benchmarks.own_memory", module, name, json.dumps(parameters)]
    with TemporaryDirectory() as home:
        log = Path(home) / "flow.log"
        with log.open("wb") as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                command, env=_environment(settings, home), stdout=output, stderr=output
            )
            peak, resident, samples, cpu = 0.0, 0.0, 0, 0.0
            while process.poll() is None:
                peak = max(peak, _total_mb(process.pid, "smaps_rollup", _PRIVATE))
                resident = max(resident, _total_mb(process.pid, "status", _HIGHEST))
                cpu = max(cpu, _cpu_seconds(process.pid))
                samples += 1
                time.sleep(_SAMPLE_SECONDS)
        if process.returncode:
            raise SystemExit(f"{name} failed:\n{log.read_text()[-4_000:]}")
        return Used(peak, resident, samples, time.perf_counter() - began, cpu)


def _environment(settings: Settings, home: str) -> Mapping[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AUTOINDEX_"))}
    prefect = {
        "PREFECT_HOME": home,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": bootstrap.prefect_database(settings),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }
    return kept | settings.environment() | prefect | {"DO_NOT_TRACK": "1"}


def _total_mb(pid: int, file: str, names: tuple[str, ...]) -> float:
    """The sum of some of the kernel's figures on a process; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(names)) / 1024


def _cpu_seconds(pid: int) -> float:
    """The processor time of a process; 0 once it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def main() -> int:
    """Run the flow that the command line names."""
    module, name, parameters = sys.argv[1:]
    getattr(import_module(module), name)(**json.loads(parameters))
    return 0


if __name__ == "__main__":
    sys.exit(main())
