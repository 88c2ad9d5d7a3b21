"""Make typed clients from the facade's contract: `make clients`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from docs_site import reference

CLIENTS: Final = Path(__file__).resolve().parent
# In an environment of its own: it needs an older Typer than Autoindex.
PYTHON_GENERATOR: Final = Path(sys.prefix, "client-generator/bin/python")
NODE_MODULES: Final = CLIENTS / "typescript" / "node_modules"


def python(contract: Path, folder: Path) -> None:
    """Make the package `autoindex_client` in a folder."""
    config, package = CLIENTS / "python" / "generator.yaml", folder / "autoindex_client"
    options = ("--meta", "none", "--overwrite", "--fail-on-warning")
    files = ("--path", contract, "--config", config, "--output-path", package)
    program = (PYTHON_GENERATOR, "-m", "openapi_python_client", "generate")
    _run(PYTHON_GENERATOR, *program, *options, *files)


def typescript(contract: Path, folder: Path) -> None:
    """Make the types of `schema.d.ts` in a folder."""
    # What has a default may be left out of a request.
    options = ("--default-non-nullable", "false", "--output", folder / "schema.d.ts")
    program = NODE_MODULES / "openapi-typescript" / "bin" / "cli.js"
    _run(program, "node", program, contract, *options)


def _run(generator: Path, *command: str | Path) -> None:
    if not generator.exists() or shutil.which(command[0]) is None:
        raise SystemExit(f"no client was made: {generator} or {command[0]} is missing")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"no client was made: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    described = CLIENTS / "openapi.json"
    described.write_text(json.dumps(reference.openapi(), indent=2))
    python(described, CLIENTS / "python")
    typescript(described, CLIENTS / "typescript")
    print("Made clients/python/autoindex_client/ and clients/typescript/schema.d.ts")
