"""Run one function in a process of its own, so that its peak memory is its own.

python -m benchmarks.alone benchmarks.prices read '{"how": "pandas"}'
"""

import json
import subprocess
import sys
from importlib import import_module
from typing import Any


def run(function: str, module: str, **arguments: Any) -> Any:
    """What `module.function(**arguments)` returns; both ways by JSON."""
    command = [sys.executable, "-m", "benchmarks.alone", module, function, json.dumps(arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Call the function that the command line names; its result is the last line."""
    module, function, arguments = sys.argv[1:]
    result = getattr(import_module(module), function)(**json.loads(arguments))
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
