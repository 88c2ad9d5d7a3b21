"""Every error Autoindex raises on purpose.

    AutoindexError
    ├── InvalidRequest            the caller can mend it: names the field and the way out
    │   ├── UnknownSymbols        symbols outside the universe
    │   └── EmptyWindow           no stored session in the window asked for
    ├── ConfigurationError        the operator can mend it: names the setting
    ├── TransientError            worth trying again
    │   ├── ProviderUnavailable   time-out, 5xx, an edge page, a truncated body
    │   ├── CreditsExhausted      the provider's budget for the minute or the day is spent
    │   ├── BudgetSpent           our own share of credits or time is, before the provider says so
    │   ├── MailUnavailable       the mail server could not be reached or said "later"
    │   ├── PartUnavailable       Prefect, the database or the key set does not answer the facade
    │   └── TurnTaken             another task works at the same data
    ├── AttemptOver               what is left to do is for the task's next attempt
    └── PermanentError            trying again changes nothing
        ├── ProviderRefused       a bad key, a plan without the endpoint
        ├── SymbolRefused         one symbol is unusable: unknown, ambiguous, or no sane bar left
        ├── IndexImpossible       no constituent can be weighted
        ├── ReportImpossible      too little data for the period
        ├── MailRefused           the mail server refused sender, recipient or message for good
        ├── MailUncertain         the mail server went away before it said whether it took the mail
        ├── ArchiveUnverified     an archive could not be read back; nothing was deleted
        ├── SoftTimeLimit         the time for an orderly end has come
        ├── MemoryLimit           more memory was asked for at once than a task may have
        └── LeaseLost             another worker has taken the task over

Transient errors are retried by the flows, by one policy (`flows.attempts.retry`); others are not.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID


class AutoindexError(Exception):
    """Base of every error raised on purpose; its text is fit to be shown to the caller."""


class InvalidRequest(AutoindexError):
    """The request cannot be carried out as it stands.

    `field` is the request's field to mend.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class UnknownSymbols(InvalidRequest):
    """Well-formed symbols that are not active members of the universe."""

    def __init__(self, symbols: Sequence[str]) -> None:
        names = ", ".join(sorted(symbols))
        super().__init__(
            "symbols", f"not in the active universe: {names}; see `autoindex universe list`"
        )
        self.symbols = tuple(sorted(symbols))


class EmptyWindow(InvalidRequest):
    """No stored session lies in the window asked for."""

    def __init__(self, field: str, first: date | None, last: date | None) -> None:
        there_is = (
            f"stored sessions run from {first} to {last}"
            if first
            else "no prices are stored yet: refresh them first"
        )
        super().__init__(field, f"no session in this window; {there_is}")
        self.first = first
        self.last = last


class ConfigurationError(AutoindexError):
    """A setting is missing or wrong."""


class TransientError(AutoindexError):
    """Worth trying again later."""


class ProviderUnavailable(TransientError):
    """The market-data provider did not give a usable answer."""


class CreditsExhausted(TransientError):
    """The provider's credits are spent, for this minute or for this day (`daily`)."""

    def __init__(self, message: str, *, daily: bool) -> None:
        super().__init__(message)
        self.daily = daily


class BudgetSpent(TransientError):
    """No call can be paid for in the time there is; the text is the reason."""


class MailUnavailable(TransientError):
    """The mail server could not be reached, or asked to be tried later."""


class PartUnavailable(TransientError):
    """A part the facade needs does not answer; `part` names it."""

    def __init__(self, part: str, reason: str = "does not answer") -> None:
        super().__init__(f"{part} {reason}")
        self.part = part
        self.reason = reason


class TurnTaken(TransientError):
    """Another task works at the same data, and has for some seconds."""


class AttemptOver(AutoindexError):
    """An attempt has used up its time, and its task has more to do; the text says how far it is."""


class PermanentError(AutoindexError):
    """Trying again changes nothing."""


class ProviderRefused(PermanentError):
    """The market-data provider refuses us: a bad key, or a plan without the endpoint."""


class SymbolRefused(PermanentError):
    """One symbol is unusable; the others are not affected."""

    def __init__(self, symbol: str, reason: str) -> None:
        super().__init__(f"{symbol}: {reason}")
        self.symbol = symbol
        self.reason = reason


class IndexImpossible(PermanentError):
    """No constituent can be weighted, or the limits on weights cannot hold."""


class ReportImpossible(PermanentError):
    """There is too little data for the report asked for."""


class MailRefused(PermanentError):
    """The mail server refused the sender, the recipient or the message for good."""


class MailUncertain(PermanentError):
    """The mail may have been sent: sending it again might deliver it twice."""


class ArchiveUnverified(PermanentError):
    """An archive could not be read back as it was written; nothing was deleted."""


class SoftTimeLimit(PermanentError):
    """The soft time limit is reached: what is done is kept, and what is left is said."""


class MemoryLimit(PermanentError):
    """A task asked for more memory at once than it may have."""


class LeaseLost(PermanentError):
    """Another worker has taken the task over, so that nothing more may be written for it."""

    def __init__(self, task_id: UUID) -> None:
        super().__init__(f"another worker has taken task {task_id} over")
        self.task_id = task_id
