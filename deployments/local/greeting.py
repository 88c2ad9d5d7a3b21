"""The greeting of a started stack: its addresses, and commands to paste."""

from pathlib import Path
from shlex import quote

from rich.console import Console

from autoindex.settings import Settings
from deployments.commands import universe_command
from deployments.local import local_secret
from deployments.local.stack import Stack


def greet(running: Stack, console: Console) -> None:
    """Print the addresses, what is switched off, and commands for another terminal."""
    settings = running.settings
    prices = "the sandbox's sample prices" if settings.sandbox else "prices from Twelve Data"
    login = local_secret.prefect_login(settings.data_dir)
    off = [name for name, on in _optional(settings).items() if not on]
    text = (
        f"\n[bold]Autoindex is up[/], with {prices}.\n"
        f"  REST facade   {running.api_url}  (documentation at /docs)\n"
        f"  Prefect UI    {running.prefect_url}  (its password is in {login})\n"
        f"  data          {settings.data_dir}  (logs in logs/)\n"
        f"  universe      {universe_command.summary(settings)}\n"
        f"  switched off  {', '.join(off) or 'nothing'}\n\n"
        f"In another terminal, in {Path.cwd()}:\n\n{_lines(running)}\n\n"
        "Ctrl-C stops everything."
    )
    # A wrapped line could not be pasted.
    console.print(text, highlight=False, soft_wrap=True)


def _lines(running: Stack) -> str:
    folder = running.settings.data_dir
    lines = [
        f"export PREFECT_API_URL={running.prefect_url}/api",
        f"export PREFECT_API_AUTH_STRING=$(cat {quote(str(local_secret.prefect_login(folder)))})",
        "TOKEN=$(.venv/bin/autoindex token --user me --scope tasks:read --scope tasks:run)",
        'curl -s -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" '
        f'-d \'{{"mode": "smart"}}\' {running.api_url}/api/v1/background/refresh',
    ]
    if folder != Path("var").resolve():  # another terminal's default
        lines.insert(0, f"export AUTOINDEX_DATA_DIR={quote(str(folder))}")
    return "\n".join(f"  {line}" for line in lines)


def _optional(settings: Settings) -> dict[str, bool]:
    return {
        "mail (AUTOINDEX_SMTP_HOST)": settings.smtp_host is not None,
        "Slack (AUTOINDEX_SLACK_WEBHOOK_URL)": settings.slack_webhook_url is not None,
        "error tracking (AUTOINDEX_SENTRY_DSN)": settings.sentry_dsn is not None,
        "Redis (AUTOINDEX_REDIS_URL)": settings.redis_url is not None,
    }
