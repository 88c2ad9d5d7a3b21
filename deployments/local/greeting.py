"""The greeting of a started stack: its addresses, and commands to paste."""

from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import Final

from rich.console import Console

from api.auth import tokens
from autoindex.settings import Settings
from deployments.commands import universe_command
from deployments.local import local_secret
from deployments.local.stack import Stack

# A browser's history may keep the link.
_SIGNED_IN: Final = timedelta(hours=1)


def greet(running: Stack, console: Console) -> None:
    """Print the addresses, what is switched off, and commands for another terminal."""
    settings = running.settings
    prices = "the sandbox's sample prices" if settings.sandbox else "prices from Twelve Data"
    login = local_secret.prefect_login(settings.data_dir)
    off = [name for name, on in _optional(settings).items() if not on]
    text = (
        f"\n[bold]Autoindex is up[/], with {prices}.\n"
        f"  page          {page_address(running, console)}\n"
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


def page_address(running: Stack, console: Console) -> str:
    """The page's address; in a terminal, with a token that signs its reader in.

    Other output may be kept in a log. A browser sends nothing of a URL's fragment.
    """
    settings = running.settings
    if not console.file.isatty() or settings.jwt_jwks_url is not None:
        return f"{running.api_url}/  (it says how to get a token)"
    token = tokens.mint(settings, "me", (tokens.Scope.READ, tokens.Scope.RUN), _SIGNED_IN)
    minutes = _SIGNED_IN // timedelta(minutes=1)
    return f"{running.api_url}/#token={token}  (open it within {minutes} minutes)"


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
