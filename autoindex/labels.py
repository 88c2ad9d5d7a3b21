"""The names and sectors of assets: what the universe takes, and how any text becomes one.

A report has to hold them in a table's cell, a chart's legend, a workbook and a mail.
"""

from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

LONGEST_NAME: Final = 200
LONGEST_SECTOR: Final = 80


def printable(text: str) -> str:
    """The text; raises for what a terminal or a file would not show."""
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


def shown(text: str, longest: int) -> str:
    """`text` on one line, without what cannot be printed, of `longest` characters at most.

    Empty where nothing of it can be printed.
    """
    spaced = "".join(" " if character.isspace() else character for character in text)
    kept = " ".join("".join(filter(str.isprintable, spaced)).split())
    return kept if len(kept) <= longest else f"{kept[: longest - 1].rstrip()}…"
