"""How long Prefect has been away, for which no run is to blame."""

import time


class Outages:
    """Adds up the time in which Prefect did not answer."""

    def __init__(self) -> None:
        self._over = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """So far, the present outage included."""
        return self._over + (0.0 if self._since is None else time.monotonic() - self._since)

    def asked_in_vain(self, asked_at: float) -> None:
        """Nothing was heard from Prefect since `asked_at`, by the monotonic clock."""
        if self._since is None:
            self._since = asked_at

    def answered(self) -> None:
        """Prefect is there."""
        self._over, self._since = self.seconds, None
