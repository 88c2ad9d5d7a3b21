"""A flow in a process of its own, its memory sampled from outside while it runs.

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

from autoindex.settings import Settings

_SAMPLE_SECONDS = 0.01
_PRIVATE = ("Private_Clean:", "Private_Dirty:")


@dataclass(frozen=True, slots=True)
class Used:
    """The most memory of its own (USS) a process had, in MB, in how many samples and seconds."""

    peak_mb: float
    samples: int
    seconds: float


def of_flow(settings: Settings, module: str, name: str, **parameters: Any) -> Used:
    """Run a flow to its end, against a Prefect server of its own; stops where the flow fails."""
    command = [sys.executable, "-m", "benchmarks.own_memory", module, name, json.dumps(parameters)]
    with TemporaryDirectory() as home:
        log = Path(home) / "flow.log"
        with log.open("wb") as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                command, env=_environment(settings, home), stdout=output, stderr=output
            )
            peak, samples = 0.0, 0
            while process.poll() is None:
                peak = max(peak, _own_mb(process.pid))
                samples += 1
                time.sleep(_SAMPLE_SECONDS)
        if process.returncode:
            raise SystemExit(f"{name} failed:\n{log.read_text()[-4_000:]}")
        return Used(peak, samples, time.perf_counter() - began)


def _environment(settings: Settings, home: str) -> Mapping[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AUTOINDEX_"))}
    prefect = {
        "PREFECT_HOME": home,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }
    return kept | settings.environment() | prefect | {"DO_NOT_TRACK": "1"}


def _own_mb(pid: int) -> float:
    """What would be free again if the process ended; 0 once it has."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(_PRIVATE)) / 1024


def main() -> int:
    """Run the flow that the command line names."""
    module, name, parameters = sys.argv[1:]
    getattr(import_module(module), name)(**json.loads(parameters))
    return 0


if __name__ == "__main__":
    sys.exit(main())
