"""`python -m benchmarks [NAME …]`: run benchmarks, print one table, write bench-results.json."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryDirectory
from typing import Any

import psutil

import benchmarks
from benchmarks.table import Ratio, say, show


def main() -> int:
    """Run what was chosen; 1 where a target is missed or a benchmark fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these (all)")
    parser.add_argument("--output", type=Path, default=Path("bench-results.json"))
    chosen = parser.parse_args()
    names = chosen.names or list(found())
    results = {name: run(name) for name in names}
    lines = [line for result in results.values() for line in result or ()]
    say("")
    show(lines)
    failed = [name for name, result in results.items() if result is None]
    chosen.output.write_text(json.dumps(report(results), indent=1, allow_nan=True))
    say(f"\nwritten to {chosen.output}" + "".join(f"\nFAILED: {name}" for name in failed))
    return 1 if failed or any(line.met is False for line in lines) else 0


def found() -> Iterator[str]:
    """The benchmarks there are: modules of this package with a function `ratios`."""
    for module in iter_modules(benchmarks.__path__):
        name = module.name
        if name != "__main__" and hasattr(import_module(f"benchmarks.{name}"), "ratios"):
            yield name


def run(name: str) -> list[Ratio] | None:
    """One benchmark in a process of its own, so that its peak memory is; None where it fails."""
    say(f"--- {name}")
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "lines.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(kept)]
        subprocess.run(command, check=False)
        if not kept.exists():
            return None
        lines = [Ratio.from_json(line) for line in json.loads(kept.read_text())]
    say(f"    {time.monotonic() - began:.0f} s")
    return lines


def report(results: Mapping[str, Sequence[Ratio] | None]) -> dict[str, Any]:
    """What is written: the machine and every line."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "load": os.getloadavg(),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "benchmarks": {
            name: None if lines is None else [line.as_json() for line in lines]
            for name, lines in results.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
