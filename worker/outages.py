"""How long Prefect or the database has been away, for which no run is to blame."""

import time


class Outages:
    """Adds up the time in which one part or another did not answer."""

    def __init__(self) -> None:
        self._over = 0.0
        self._since: float | None = None
        self._away: set[str] = set()

    @property
    def seconds(self) -> float:
        """So far, the present outage included."""
        return self._over + (0.0 if self._since is None else time.monotonic() - self._since)

    def asked_in_vain(self, part: str, asked_at: float) -> None:
        """Nothing was heard from `part` since `asked_at`, by the monotonic clock."""
        self._away.add(part)
        if self._since is None:
            self._since = asked_at

    def answered(self, part: str) -> None:
        """It is there."""
        self._away.discard(part)
        if not self._away:
            self._over, self._since = self.seconds, None
