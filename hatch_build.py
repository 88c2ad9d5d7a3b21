"""Refuse to build a wheel: Autoindex runs from its checkout, where `prefect.yaml` is."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EditableOnly(BuildHookInterface):
    """Allow `pip install --editable .` and nothing else."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Stop any other build with a message."""
        if version != "editable":
            raise SystemExit(
                "Autoindex is not built as a wheel: it runs from its checkout.\n"
                "Run `make .venv/runtime`, or `pip install --editable .`"
            )
