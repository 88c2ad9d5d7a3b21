"""One line of a benchmark's result, and how lines are printed and kept."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_COLUMNS = ("what", "ours", "reference", "ratio", "target", "met")


@dataclass(frozen=True, slots=True)
class Ratio:
    """What was measured beside something else in the same run.

    `ours` and `reference` are in the same `unit`: seconds, MB, rows. `against` names the
    reference: a raw floor, another library, a limit. `at_most` is the target for ours divided by
    reference; None where the line is there to be known. "At least five times as fast" is 0.2.
    """

    what: str
    ours: float
    reference: float
    against: str
    unit: str = "s"
    at_most: float | None = None

    @property
    def ratio(self) -> float:
        """Ours divided by the reference; infinite where the reference is zero and ours is not."""
        if self.reference:
            return self.ours / self.reference
        return float("inf") if self.ours else 0.0

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.at_most is None else self.ratio <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """Every field, and what follows from them."""
        return {
            "what": self.what,
            "ours": self.ours,
            "reference": self.reference,
            "against": self.against,
            "unit": self.unit,
            "ratio": self.ratio,
            "at_most": self.at_most,
            "met": self.met,
        }

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Self:
        """The line that `as_json` wrote."""
        return cls(**{name: line[name] for name in cls.__dataclass_fields__})


def growth(what: str, took: Mapping[int, float]) -> Ratio:
    """The exponent with which a measure grows from the smallest size to the largest."""
    least, most = min(took), max(took)
    exponent = math.log(took[most] / took[least]) / math.log(most / least)
    return Ratio(what, exponent, 1.0, "linear", unit="")


def main(measure: Callable[[], Iterable[Ratio]]) -> int:
    """Measure, print the table; 1 where a target is missed. `--json FILE` keeps the lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, help="write the lines here as well")
    chosen = parser.parse_args()
    lines = list(measure())
    show(lines)
    if chosen.json:
        chosen.json.write_text(json.dumps([line.as_json() for line in lines], indent=1))
    return 1 if any(line.met is False for line in lines) else 0


def show(lines: Iterable[Ratio]) -> None:
    """Print the table."""
    rows = [_COLUMNS, *map(_cells, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join([first, *others]).rstrip())


def say(text: str) -> None:
    """One line for the reader, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _cells(line: Ratio) -> tuple[str, ...]:
    return (
        line.what,
        f"{line.ours:.4g} {line.unit}",
        f"{line.reference:.4g} {line.unit} ({line.against})",
        f"{line.ratio:.3g}",
        "" if line.at_most is None else f"≤ {line.at_most:g}",
        {True: "yes", False: "NO", None: ""}[line.met],
    )
