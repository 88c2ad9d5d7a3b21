"""Names and sectors of assets: which texts are valid, and how to display any text on one line.

Reports show them in table cells, chart legends, workbooks and mails.
"""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

LONGEST_NAME: Final = 200
LONGEST_SECTOR: Final = 80


def printable(text: str) -> str:
    """The text; raises where it has a character that cannot be printed."""
    odd = next((character for character in text if not character.isprintable()), None)
    if odd is not None:
        raise PydanticCustomError(
            "unprintable",
            "String should have printable characters only, not {odd}",
            {"odd": ascii(odd)},
        )
    return text


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_NAME), AfterValidator(printable)
]
Sector = Annotated[str, StringConstraints(max_length=LONGEST_SECTOR), AfterValidator(printable)]


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shown(text: str, longest: int) -> str:
    """`text` on one line of at most `longest` characters, without unprintable ones.

    Empty where no character is printable.
    """
    spaced = "".join(" " if character.isspace() else character for character in text)
    kept = " ".join("".join(filter(str.isprintable, spaced)).split())
    return kept if len(kept) <= longest else f"{kept[: longest - 1].rstrip()}…"
