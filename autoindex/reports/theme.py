"""Colours and typefaces of the PDF, the workbook and the mail.

One accent; the rest is grey. Shades differ in lightness, so that they stay distinct in black and
white and for colour-blind readers. Nothing depends on colour alone.
"""

from functools import cache
from pathlib import Path
from typing import Final

from matplotlib.font_manager import fontManager
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

ACCENT: Final = "#0B5563"
ACCENT_TINT: Final = "#DCEAEC"
INK: Final = "#1B2226"
MUTED: Final = "#5C676D"
RULE: Final = "#C5CCD0"
SHADE: Final = "#EEF2F3"
BENCHMARK: Final = "#7C868B"
# As dark as the accent: in grey a loss is no paler than a gain of the same size.
LOSS: Final = "#43494C"
WHITE: Final = "#FFFFFF"

REGULAR: Final = "SourceSans"
BOLD: Final = "SourceSans-Semibold"
FONT_FAMILY: Final = "Source Sans Pro"
_FOLDER: Final = Path(__file__).parent / "fonts"
FONT_FILES: Final = {
    REGULAR: _FOLDER / "SourceSansPro-Regular.ttf",
    BOLD: _FOLDER / "SourceSansPro-Semibold.ttf",
}


@cache
def register_fonts() -> None:
    """Register the typefaces with ReportLab and matplotlib, once a process."""
    for name, path in FONT_FILES.items():
        fontManager.addfont(path)
        pdfmetrics.registerFont(TTFont(name, str(path)))
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR)


def text_width(words: str, size: float) -> float:
    """Width of `words` in the regular typeface, in points."""
    register_fonts()
    return float(pdfmetrics.stringWidth(words, REGULAR, size))


def shortened(text: str, width: float, size: float) -> str:
    """`text` cut to `width` points on one line, with an ellipsis where it is cut."""
    if text_width(text, size) <= width:
        return text
    kept = text
    while kept and text_width(f"{kept}…", size) > width:
        kept = kept[:-1].rstrip()
    return f"{kept}…"


def shades(count: int) -> list[str]:
    """`count` shades of the accent from dark to light, evenly spaced.

    The lightest has a contrast of 3 to 1 on white, as WCAG 2.2 asks of graphics.
    """
    dark, light = _rgb(ACCENT), (111, 151, 159)
    steps = [i / max(count - 1, 1) for i in range(count)]
    return [
        "#{:02X}{:02X}{:02X}".format(
            *(round(a + (b - a) * step) for a, b in zip(dark, light, strict=True))
        )
        for step in steps
    ]


def blend(colour: str, share: float) -> str:
    """`colour` on white paper at the given strength, 0 to 1."""
    return "#{:02X}{:02X}{:02X}".format(
        *(round(255 + (part - 255) * share) for part in _rgb(colour))
    )


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
