"""The tables of the reference, as Markdown made from the code."""

import json
import os
import re
import secrets
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import typer
from typer.cli import get_docs_for_click

from autoindex.settings import Settings

Schema = Mapping[str, Any]
# An error of so many endpoints is described once for all.
_MANY: Final = 6
Answer = tuple[str, str, str]


def settings() -> str:
    """Every setting: its variable, its default and its meaning."""
    rows = [
        f"| `AUTOINDEX_{name.upper()}` | {'' if field.default is None else f'`{field.default}`'} "
        f"| {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def commands() -> str:
    """The help of every command, as Typer writes it."""
    from deployments.cli import app  # noqa: PLC0415 - what it imports reads the environment

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="autoindex")
    text = get_docs_for_click(obj=command, ctx=context, name="autoindex")
    return re.sub(r"^#", "##", text, flags=re.MULTILINE)


def api() -> str:
    """The facade's endpoints by tag, then the schemas of their bodies and answers."""
    described = openapi()
    endpoints = [
        (method, path, endpoint)
        for path, methods in described["paths"].items()
        for method, endpoint in methods.items()
    ]
    counted = Counter(answer for *_, endpoint in endpoints for answer in _answers(endpoint))
    usual = sorted(one for one, count in counted.items() if one[0] >= "400" and count >= _MANY)
    lines: list[str] = []
    for tag in described["tags"]:
        lines += [f"## {tag['name'].capitalize()}", "", tag["description"], ""]
        for method, path, endpoint in endpoints:
            if tag["name"] in endpoint["tags"]:
                lines += _endpoint(method, path, endpoint, usual)
    lines += ["## Usual errors", "", *_answer_table(usual), "## Schemas", ""]
    for name, schema in sorted(described["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines)


def openapi() -> dict[str, Any]:
    """The facade's contract, as a running one serves it."""
    os.environ.setdefault("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    from api.app import create_app  # noqa: PLC0415 - as above

    return create_app(Settings(jwt_secret=secrets.token_urlsafe(48))).openapi()


def _endpoint(method: str, path: str, described: Schema, usual: Sequence[Answer]) -> Iterator[str]:
    yield from (f"### {method.upper()} {path}", "", described.get("description", ""), "")
    for scheme in described.get("security", ()):
        scopes = ", ".join(f"`{scope}`" for scopes in scheme.values() for scope in scopes)
        yield from (f"Scope: {scopes}", "")
    if parameters := described.get("parameters"):
        yield from ("| parameter | in | type | default | meaning |", "|---|---|---|---|---|")
        for one in parameters:
            default = _default(one["schema"], required=one.get("required", False))
            kind = _kind(one["schema"])
            yield f"| `{one['name']}` | {one['in']} | {kind} | {default} | {_said(one)} |"
        yield ""
    if body := described.get("requestBody"):
        yield from (f"Body: {_content(body)}", "")
    answers = _answers(described)
    yield from _answer_table([answer for answer in answers if answer not in usual])
    if same := [status for status, *rest in answers if (status, *rest) in usual]:
        yield from (f"And the [usual errors](#usual-errors) {', '.join(same)}.", "")


def _answers(endpoint: Schema) -> list[Answer]:
    """Status, body and meaning of each."""
    return [
        (status, _content(answer), _said(answer))
        for status, answer in sorted(endpoint["responses"].items())
    ]


def _answer_table(answers: Sequence[Answer]) -> Iterator[str]:
    yield from ("| answer | body | when |", "|---|---|---|")
    yield from (f"| {status} | {body} | {when} |" for status, body, when in answers)
    yield ""


def _content(described: Schema) -> str:
    kinds = (
        f"`{media}`" if "$ref" not in content.get("schema", {}) else _kind(content["schema"])
        for media, content in described.get("content", {}).items()
    )
    return ", ".join(dict.fromkeys(kinds))


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield from (f"### {name}", "", schema.get("description", ""), "")
    if "enum" in schema:
        yield from (_kind(schema), "")
        return
    yield from ("| field | type | default | meaning |", "|---|---|---|---|")
    required = schema.get("required", ())
    for field, one in schema.get("properties", {}).items():
        default = _default(one, required=field in required)
        yield f"| `{field}` | {_kind(one)} | {default} | {_said(one)} |"
    yield ""


def _kind(schema: Schema) -> str:
    """A type in words, with a link if it has a section of its own."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(one) for one in choices))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any"))


def _default(schema: Schema, *, required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def _said(described: Schema) -> str:
    said = str(described.get("description", "")).replace("\n", " ").replace("|", "\\|")
    return "" if said == "Successful Response" else said


if __name__ == "__main__":
    json.dump({"settings": settings(), "commands": commands(), "api": api()}, sys.stdout)
