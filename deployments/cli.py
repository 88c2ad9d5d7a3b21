"""The `autoindex` command: local stack, demonstration, set-up, universe, archive and tokens."""

import os
import signal
import sys
import warnings
from datetime import datetime
from importlib.metadata import version
from io import TextIOWrapper
from traceback import format_exception
from types import TracebackType
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.markup import escape

from autoindex.errors import ArchiveUnverified, AutoindexError
from autoindex.masking import masked
from autoindex.requests import PUBLISHED_FREQUENCY, PUBLISHED_STRATEGY, Frequency, Strategy
from autoindex.settings import Settings, misspelt
from deployments.local import data_folder, environment, ports
from deployments.local.console import Progress
from deployments.universe_cli import universe
from worker.parent_death import set_parent_death_signal

# Modules that import Prefect or pandas are imported by the commands that need them, so that
# `autoindex token` answers at once.
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(universe, name="universe")
index = typer.Typer(help="The published index.", no_args_is_help=True)
app.add_typer(index, name="index")
prices = typer.Typer(help="Stored prices.", no_args_is_help=True)
app.add_typer(prices, name="prices")
# A shell that asks what may follow shows whatever is written.
_COMPLETING: Final = "_AUTOINDEX_COMPLETE"
# The demonstration uses the embedded parts, whatever the environment is set to.
_NOT_IN_DEMO: Final = (
    *("database_url", "redis_url", "twelve_data_api_key", "clock", "archive_url"),
    *("jwt_secret", "jwt_jwks_url", "smtp_host", "slack_webhook_url", "sentry_dsn"),
)


def main() -> None:
    """Run the command; an error of ours is one sentence and exit status 1."""
    # Before anything imports Prefect: it reports usage and checks versions unless told not to.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.umask(0o077)  # logs and reports hold addresses
    if "PYTHONWARNINGS" in os.environ:  # which may make errors of what libraries warn of
        warnings.simplefilter("ignore")
    _prepare_output()
    sys.excepthook = _show_masked
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if _COMPLETING not in os.environ:
        for sentence in misspelt(os.environ):
            console.print(f"[yellow]Warning:[/] {escape(sentence)}")
    try:
        app()
    except AutoindexError as error:
        console.print(f"[red]Error:[/] {escape(masked(str(error)))}")
        sys.exit(1)


def _prepare_output() -> None:
    """Write what the terminal can't show as `?`; keep files off the numbers of closed streams."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _show_masked(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """A defect, with its trace."""
    print(masked("".join(format_exception(kind, error, trace))), end="", file=sys.stderr)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"autoindex {version('autoindex')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Autoindex keeps a rule-based market index up to date."""


WithParent = Annotated[
    bool, typer.Option("--with-parent", help="Stop when the parent process ends.")
]


@app.command()
def up(with_parent: WithParent = False) -> None:
    """Run the whole stack in the foreground until Ctrl-C."""
    if with_parent:
        set_parent_death_signal(signal.SIGTERM)
    settings = Settings()
    _enter_stack(settings)
    from deployments.local import up as stack_up  # noqa: PLC0415 - see above

    stack_up.run(settings, Console())


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack up until Ctrl-C.")] = False,
    with_parent: WithParent = False,
) -> None:
    """Refresh, compute and report on real sample prices, through the REST facade."""
    if with_parent:
        set_parent_death_signal(signal.SIGTERM)
    settings = _demo_settings(Settings())
    _enter_stack(settings)
    from deployments.local import demo as demonstration  # noqa: PLC0415

    demonstration.run(settings, Console(), keep=keep)


def _demo_settings(settings: Settings) -> Settings:
    """Of the given settings only the addresses; sample prices get a folder of their own."""
    free = {field: ports.free_or_next(field, settings) for field in ports.FIELDS}
    folder = settings.data_dir / "demo"
    return settings.model_copy(update=free | dict.fromkeys(_NOT_IN_DEMO) | {"data_dir": folder})


def _enter_stack(settings: Settings) -> None:
    data_folder.check(settings.data_dir)
    environment.enter(settings)


_settings = environment.read_settings


def _progress() -> Progress:
    """On the error stream: the other one is the result's."""
    return Progress(Console(stderr=True))


@app.command()
def bootstrap(
    reset_schedules: Annotated[
        bool,
        typer.Option(
            "--reset-schedules",
            help="Set the schedules of prefect.yaml, and switch on what is paused in Prefect. "
            "Schedules that the file does not name stay.",
        ),
    ] = False,
) -> None:
    """Create or update tables, work pool, queues, notices and deployments; safe to repeat.

    Schedules that were paused or changed in Prefect stay so.
    """
    settings = _settings()
    environment.check_network()
    from deployments import bootstrap as setup  # noqa: PLC0415

    setup.bootstrap(settings, Progress(Console()), reset_schedules=reset_schedules)


@app.command()
def migrate() -> None:
    """Bring the database's tables up to date."""
    settings = _settings()
    from deployments import bootstrap as setup  # noqa: PLC0415

    print(setup.prepare_database(settings))


@app.command()
def token(
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", help="The user that the token names.")
    ],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="tasks:read, tasks:run, tasks:admin or metrics:read; repeat for more.",
        ),
    ],
    hours: Annotated[
        float,
        typer.Option(
            "--hours",
            metavar="HOURS",
            min=0.01,
            max=8_784,
            help="How long it is valid, a year at most.",
        ),
    ] = 12.0,
) -> None:
    """Print a token for the REST facade."""
    settings = _settings()
    from datetime import timedelta  # noqa: PLC0415

    from api.auth import tokens  # noqa: PLC0415
    from deployments.local import local_secret  # noqa: PLC0415

    settings = local_secret.fill_in(settings)
    print(tokens.mint(settings, user=user, scopes=scope, lifetime=timedelta(hours=hours)))


@app.command()
def archive() -> None:
    """List what the cleanup has archived, and verify every file."""
    from deployments.commands import archive_command  # noqa: PLC0415

    settings = _settings()
    with _progress().passing("Archive", "listing its months") as step:
        table, damaged = archive_command.table(settings, step)
    Console().print(table if table.row_count else "The archive is empty: nothing was removed yet.")
    if found := archive_command.ignored(settings):
        print(found)
    if damaged:
        raise ArchiveUnverified("; ".join(damaged))


@app.command()
def restore(
    kind: Annotated[
        Literal["prices", "news", "logs"],
        typer.Argument(metavar="KIND", help="What to restore."),
    ],
    start: Annotated[
        datetime,
        typer.Option("--from", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="The first day."),
    ],
    end: Annotated[
        datetime,
        typer.Option(
            "--to", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="The last day, included."
        ),
    ],
) -> None:
    """Restore archived rows of a range of days; stored rows stay as they are."""
    from deployments.commands import archive_command  # noqa: PLC0415

    with _progress().passing("Restore", "listing the archive's months") as step:
        done = archive_command.restore_rows(_settings(), kind, start.date(), end.date(), step)
    print(done)


@index.command()
def history(
    session: Annotated[
        datetime,
        typer.Argument(formats=["%Y-%m-%d"], metavar="SESSION", help="Its day, as YYYY-MM-DD."),
    ],
    strategy: Annotated[Strategy, typer.Option(help="Of this index.")] = PUBLISHED_STRATEGY,
    frequency: Annotated[Frequency, typer.Option(help="Of this index.")] = PUBLISHED_FREQUENCY,
) -> None:
    """Show every version of one level: when it was published, why, and by which task."""
    from deployments.commands import index_command  # noqa: PLC0415

    Console().print(index_command.history(_settings(), strategy, frequency, session.date()))


@prices.command()
def confirm(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="As in AAPL.")],
    session: Annotated[
        datetime | None,
        typer.Argument(
            formats=["%Y-%m-%d"], metavar="SESSION", help="The close's day, as YYYY-MM-DD."
        ),
    ] = None,
) -> None:
    """Confirm a close that jumps like a split, or without SESSION a history that was refused.

    Such a close is right, and the index may use it at once. Such a history replaces the stored one
    with the next refresh.
    """
    from deployments.commands import prices_command  # noqa: PLC0415

    if session is None:
        print(prices_command.confirm_history(_settings(), symbol))
    else:
        print(prices_command.confirm(_settings(), symbol, session.date()))


if __name__ == "__main__":
    main()
