"""The rooms and which way imports may go between them."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("autoindex", "flows", "api", "worker", "deployments", "sandbox")
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc"}

# Room or module -> what nothing below it may import.
FORBIDDEN = {
    "autoindex": ("prefect", "fastapi", "flows", "api", "worker", "deployments", "sandbox"),
    "autoindex/index": ("sqlalchemy", "psycopg", "redis", "httpx", "autoindex.storage"),
    "autoindex/reports": ("sqlalchemy", "psycopg", "redis", "httpx", "autoindex.storage"),
    "autoindex/market_data": ("sqlalchemy", "psycopg", "redis", "autoindex.storage"),
    "flows": ("fastapi", "api", "worker", "deployments", "sandbox"),
    "flows/attempts": ("flows.visibility",),
    "api": ("prefect", "flows", "worker", "deployments", "sandbox"),
    "api/auth": ("api.tasks", "api.prefect", "api.routes", "api.server"),
    "api/tasks": ("api.prefect", "api.routes", "api.server", "api.problems"),
    "api/prefect": ("api.routes", "api.server", "api.problems"),
    "worker": ("fastapi", "api", "deployments", "sandbox"),
    "sandbox": (
        "prefect",
        "sqlalchemy",
        "psycopg",
        "redis",
        "flows",
        "api",
        "worker",
        "deployments",
    ),
}
# What one place of a room knows, and nothing else of it.
ONLY_HERE = {
    ("api", "api.prefect"): {"api/prefect", "api/app.py"},
    ("autoindex", "sqlalchemy"): {"autoindex/storage"},
    ("autoindex", "redis"): {"autoindex/storage"},
    ("worker", "prefect._internal"): {"worker/engine.py"},
    # Prefect's client may come to raise the exceptions of another library.
    ("flows", "httpx"): {"flows/attempts/transient_errors.py"},
    ("worker", "httpx"): {"worker/outages.py", "worker/proxy_pages.py"},
}


def sources(folder: str) -> Iterator[Path]:
    yield from (PROJECT / folder).rglob("*.py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def reaches(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize(
    ("folder", "package"), [(room, p) for room, packages in FORBIDDEN.items() for p in packages]
)
def test_no_import_goes_the_wrong_way(folder: str, package: str) -> None:
    wrong = {
        f"{path.relative_to(PROJECT)}: {name}"
        for path in sources(folder)
        for name in imports(path)
        if reaches(name, package)
    }
    assert not wrong


@pytest.mark.parametrize(("folder", "package"), ONLY_HERE)
def test_a_library_is_known_to_one_place_only(folder: str, package: str) -> None:
    users = {
        str(path.relative_to(PROJECT))
        for path in sources(folder)
        if any(reaches(name, package) for name in imports(path))
    }
    allowed = ONLY_HERE[folder, package]
    assert {user for user in users if not user.startswith(tuple(allowed))} == set()


def test_no_file_is_called_by_a_name_that_says_nothing() -> None:
    named = {
        str(path.relative_to(PROJECT))
        for room in (*ROOMS, "tests")
        for path in sources(room)
        if FORBIDDEN_NAMES & {path.stem, path.parent.name}
    }
    assert named == set()


def test_what_the_product_imports_is_installed_with_it() -> None:
    """A library that only development installs would be missing at a user's."""
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[^\w-]", line)[0].lower().replace("_", "-") for line in declared}
    distributions = packages_distributions()
    modules = {
        name.partition(".")[0] for room in ROOMS for p in sources(room) for name in imports(p)
    }
    foreign = modules - set(ROOMS) - sys.stdlib_module_names
    missing = {
        module
        for module in foreign
        if not names & {name.lower().replace("_", "-") for name in distributions.get(module, ())}
    }
    assert missing == set()
