"""Which secrets may sign tokens: those that nobody guesses."""

import re
from typing import Final

# RFC 7518, section 3.2: a key at least as long as the hash.
SHORTEST_BYTES: Final = 32
# Words that stand where a secret should, in examples and in haste.
_PLACEHOLDER: Final = re.compile(
    r"change|replace|your.?(own|secret|key|256)|secret.?key|password|example|placeholder|default"
    r"|super.?secret|09d25e094faa6ca2556c818166b7a956",
    re.IGNORECASE,
)


def can_be_guessed(value: str) -> bool:
    """Whether it is too short, repeats itself, or stands in somebody's documentation."""
    return (
        len(value) < SHORTEST_BYTES
        or len(set(value)) < 8
        # A text that repeats itself is found in its double before the end.
        or value in (value + value)[1:-1]
        or _PLACEHOLDER.search(value) is not None
    )
