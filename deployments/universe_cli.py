"""The commands below `autoindex universe`."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deployments.local import environment
from deployments.local.console import Progress

# As in `cli`, modules that import pandas are imported by the commands that need them.
universe = typer.Typer(help="The stocks the index may hold.", no_args_is_help=True)
Symbols = Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="As in AAPL KO.")]


@universe.command("import")
def import_universe(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV file.", exists=True)],
    backdate: Annotated[
        bool, typer.Option("--backdate", help="Correct what is published, by dates in its past.")
    ] = False,
) -> None:
    """Import stocks from a CSV file: existing ones are updated, none is removed."""
    from deployments.commands import universe_command  # noqa: PLC0415

    settings = environment.read_settings()
    with Progress(Console(stderr=True)).passing("Import", f"reading {file}") as step:
        done = universe_command.import_file(settings, file, step, backdate=backdate)
    print(done)


@universe.command("list")
def list_universe(
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Only a day's members."
        ),
    ] = None,
) -> None:
    """Show every stock, and when it is a member; a CSV file where this is no terminal."""
    from deployments.commands import universe_command  # noqa: PLC0415

    listed = universe_command.rows(environment.read_settings(), as_of.date() if as_of else None)
    if sys.stdout.isatty():
        Console().print(universe_command.table(listed))
    else:
        print(universe_command.csv_text(listed), end="")


@universe.command()
def activate(symbols: Symbols) -> None:
    """Make stocks members again, from the session after the newest published one on."""
    from deployments.commands import universe_command  # noqa: PLC0415

    print(universe_command.activate(environment.read_settings(), symbols))


@universe.command()
def deactivate(
    symbols: Symbols,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="The first day on which they are no members.",
        ),
    ] = None,
) -> None:
    """Take stocks out of the index from its next rebalance on; their prices stay."""
    from deployments.commands import universe_command  # noqa: PLC0415

    print(
        universe_command.deactivate(
            environment.read_settings(), symbols, since.date() if since else None
        )
    )


@universe.command()
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The symbol until now.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new symbol.")],
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Its first day, for the record; not a later one.",
        ),
    ] = None,
) -> None:
    """Give a stock another symbol; it keeps its prices and its history."""
    from deployments.commands import universe_command  # noqa: PLC0415

    settings = environment.read_settings()
    print(universe_command.rename(settings, old, new, since.date() if since else None))
