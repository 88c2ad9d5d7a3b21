"""Every error Autoindex raises on purpose.

    AutoindexError
    ├── InvalidRequest            the caller can fix it: names the field and how
    │   ├── UnknownSymbols        symbols outside the universe
    │   └── EmptyWindow           no stored session in the window asked for
    ├── ConfigurationError        the operator can fix it: names the setting
    ├── TransientError            worth a retry
    │   ├── ProviderUnavailable   time-out, 5xx, an edge page, a truncated body
    │   ├── CreditsExhausted      the provider's budget for the minute or the day is spent
    │   ├── BudgetSpent           our own share of credits or time is spent
    │   ├── MailUnavailable       the mail server is unreachable, or asks for a retry later
    │   ├── PartUnavailable       the facade cannot reach Prefect, the database or the key set
    │   └── DataBusy              another task works at the same data
    ├── AttemptOver               the task goes on in its next attempt
    └── PermanentError            a retry changes nothing
        ├── ProviderRefused       a bad key, a plan without the endpoint
        ├── SymbolRefused         one symbol is unusable: unknown, ambiguous, without a valid bar
        ├── IndexImpossible       no constituent can be weighted
        ├── ReportImpossible      too little data for the period
        ├── MailRefused           the mail server refused sender, recipient or message
        ├── MailUncertain         the mail server broke off before it confirmed the mail
        ├── ArchiveUnverified     an archive does not read back; nothing was deleted
        ├── SoftTimeLimit         the soft time limit is reached
        ├── MemoryLimit           a task asked for more memory than it may have
        └── LeaseLost             another worker has taken over the task

Transient errors are retried by the flows, by one policy (`flows.attempts.retry`); others are not.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID


class AutoindexError(Exception):
    """Base of every error raised on purpose; its text may be shown to the caller."""


class InvalidRequest(AutoindexError):
    """The request cannot be carried out as it is; `field` is the field to fix."""

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
    """Worth a retry."""


class ProviderUnavailable(TransientError):
    """The market-data provider did not give a usable answer."""


class CreditsExhausted(TransientError):
    """The provider's credits are spent, for this minute or for this day (`daily`)."""

    def __init__(self, message: str, *, daily: bool) -> None:
        super().__init__(message)
        self.daily = daily


class BudgetSpent(TransientError):
    """No credits are available within the time limit; the text is the reason."""


class MailUnavailable(TransientError):
    """The mail server is unreachable, or asks for a retry later."""


class PartUnavailable(TransientError):
    """A part the facade needs does not answer; `part` names it."""

    def __init__(self, part: str, reason: str = "does not answer") -> None:
        super().__init__(f"{part} {reason}")
        self.part = part
        self.reason = reason


class DataBusy(TransientError):
    """Another task works at the same data, and has for some seconds."""


class AttemptOver(AutoindexError):
    """An attempt has used its time, and the task has more to do; the text says how far it is."""


class PermanentError(AutoindexError):
    """A retry changes nothing."""


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
    """The soft time limit is reached; finished work is kept, and the text names the rest."""


class MemoryLimit(PermanentError):
    """A task asked for more memory than it may have."""


class LeaseLost(PermanentError):
    """Another worker has taken over the task: this one may write nothing more for it."""

    def __init__(self, task_id: UUID) -> None:
        super().__init__(f"another worker has taken task {task_id} over")
        self.task_id = task_id
