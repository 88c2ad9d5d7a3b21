"""`autoindex prices`: what somebody knows about stored closes."""

from datetime import date

from autoindex.settings import Settings
from autoindex.storage.prices import confirmed_histories, suspicious_closes
from deployments.commands.caller import user_name
from deployments.database_connection import connected


def confirm_history(settings: Settings, symbol: str) -> str:
    """Accept a refused history; a sentence with the result. Raises `InvalidRequest`."""
    with connected(settings) as connection:
        confirmed = confirmed_histories.confirm(connection, symbol, user_name())
    if not confirmed:
        return f"the history of {symbol} is confirmed already"
    return f"the history of {symbol} is confirmed: the next refresh stores it, whatever it is"


def confirm(settings: Settings, symbol: str, session: date) -> str:
    """Confirm a suspicious close; a sentence with the result. Raises `InvalidRequest`."""
    with connected(settings) as connection:
        confirmed = suspicious_closes.confirm(connection, symbol, session, user_name())
    if not confirmed:
        return f"the close of {symbol} of {session} is confirmed already"
    return f"the close of {symbol} of {session} is confirmed: the next refresh counts it"
