"""Commands and requests in the docs name what exists; those of the tutorial are run end to end."""

import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from cyclopts.exceptions import CoercionError, CycloptsError

from deployments.cli import app
from docs_site import reference

PROJECT = Path(__file__).resolve().parent.parent
FOLDERS = ("*.md", "docs/**/*.md", "clients/*/README.md")
PAGES = sorted({page for folder in FOLDERS for page in PROJECT.glob(folder)})
# Of the changelog, only the newest release is about what there is.
PAGES.remove(PROJECT / "CHANGELOG.md")
TASKS = "/api/v1/background"


def lines(page: Path) -> Iterator[str]:
    """The lines of code blocks for a shell, each whole; then code in the text."""
    text = page.read_text()
    for block in re.findall(r"^```\n(.*?)^```", text, re.S | re.M):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)


def commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """Where the docs call a program, and its arguments."""
    called = re.compile(rf"(?:^|\$\(|\.venv/bin/){program} ([^|>)]+)")
    for page in PAGES:
        for line in lines(page):
            for arguments in called.findall(line):
                yield page.name, shlex.split(arguments)


def test_commands_of_ours_exist_with_their_options() -> None:
    whole = typer.main.get_command(app)
    for page, words in commands("autoindex"):
        command, left = whole, [*words]
        context = typer.Context(command, info_name="autoindex")
        while left and isinstance(command, typer.core.TyperGroup) and left[0][:2] != "--":
            found = command.get_command(context, left.pop(0))
            assert found, f"{page}: autoindex {words}"
            command, context = found, typer.Context(found, parent=context)
        # Raises if an option is unknown. Values may be placeholders.
        _, unknown, _ = command.make_parser(context).parse_args(args=left)
        assert unknown == [], f"{page}: autoindex {words}"


def test_commands_of_prefects_exist_with_their_options() -> None:
    from prefect.cli._app import _app as prefect

    for page, words in commands("prefect"):
        try:
            prefect.parse_args(words, exit_on_error=False, print_error=False)
        except CoercionError:
            pass  # a placeholder, as in `cancel ID`
        except CycloptsError as error:
            pytest.fail(f"{page}: prefect {shlex.join(words)}: {error}")


def test_modules_and_targets_exist() -> None:
    for page, words in commands("python"):
        if words[0] == "-m":
            assert importlib.util.find_spec(words[1]), f"{page}: {words[1]}"
    makefile = (PROJECT / "Makefile").read_text()
    for page, words in commands("make"):
        assert re.search(rf"^{re.escape(words[0])}:", makefile, re.M), f"{page}: make {words[0]}"


@cache
def contract() -> dict[str, Any]:
    return reference.openapi()


def endpoint(method: str, path: str) -> dict[str, Any] | None:
    """What the contract says of a request; a part of the path may be a placeholder."""
    for template, methods in contract()["paths"].items():
        pattern = re.sub(r"\{\w+\}", r"([$…{][^/]*|[\\w-]+)", template)
        if method.lower() in methods and re.fullmatch(pattern, path):
            return dict(methods[method.lower()])
    return None


def requests() -> Iterator[tuple[str, list[str], str]]:
    """The page, the words and the path of each request to the facade."""
    for page in PAGES:
        base = "/api/v1"  # as in the tutorial
        for line in lines(page):
            if named := re.match(r"API=http://[\w.:]+(/\S+)", line):
                base = named[1]
            for command in simple_commands(line):
                for path in re.findall(r"(?:\$API|http://127\.0\.0\.1:8000)(/[^?\s\"']*)", command):
                    whole = base + path if "$API" in command else path
                    yield page.name, shlex.split(command), whole


def simple_commands(line: str) -> Iterator[str]:
    """The requests of a line, also those inside `$(…)`."""
    while inner := re.search(r"\$\(([^()]*)\)", line):
        yield from simple_commands(inner[1])
        line = line.replace(inner[0], "$ID")
    for part in re.split(r" \|\|? | && ", line):
        if found := re.search(r"\b(?:ask|curl) .*\$API.*|\b(?:ask|curl) .*:8000.*", part):
            yield found[0]


def test_requests_are_those_of_the_contract() -> None:
    checked = 0
    for page, words, path in requests():
        body = words[words.index("-d") + 1] if "-d" in words else None
        method = words[words.index("-X") + 1] if "-X" in words else "POST" if body else "GET"
        described = endpoint(method, path)
        assert described, f"{page}: {method} {path}"
        if body:
            schema = described["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.validate(json.loads(body), contract() | schema)
        checked += 1
    assert checked > 20


def test_endpoints_in_the_text_are_those_of_the_contract() -> None:
    named = {
        found.groups()
        for page in PAGES
        for line in lines(page)
        if page.name != "sandbox.md"
        and (found := re.fullmatch(r"(GET|POST|DELETE|PUT) (/[^?]*)(?:\?.*)?", line))
    }
    assert len(named) > 20
    missing = {
        f"{method} {path}"
        for method, path in named
        if not endpoint(method, path) and not endpoint(method, f"{TASKS}{path}")
    }
    # The page for people, and an endpoint of Prefect's.
    assert missing == {"GET /", "POST /flow_runs/"}
