"""Figures drawn on a canvas: what the PDF's own operators say."""

import zlib
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from pypdf import PdfReader
from reportlab.pdfgen.canvas import Canvas

from autoindex.reports.pdf import plot, vector


def _drawn(figure: Figure) -> tuple[str, str]:
    """The page's operators, and its text."""
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=(200, 100), pageCompression=0, invariant=1)
    with plot.style():
        vector.draw(figure, canvas)
    canvas.save()
    page = PdfReader(buffer).pages[0]
    content = page.get_contents()
    assert content is not None
    return content.get_data().decode("latin-1"), page.extract_text()


@pytest.fixture
def figure() -> Figure:
    figure = Figure(figsize=(200 / 72, 100 / 72), dpi=72)
    figure.patch.set_visible(False)
    return figure


def test_a_line_is_where_it_should_be(figure: Figure) -> None:
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 200)
    axes.set_ylim(0, 100)
    axes.plot([10, 110], [20, 70], color="#FF0000", linewidth=2)
    operators, _ = _drawn(figure)
    assert "10 20 m" in operators
    assert "110 70 l" in operators
    assert "1 0 0 RG" in operators
    assert "2 w" in operators


def test_text_is_text(figure: Figure) -> None:
    figure.text(0.1, 0.5, "Growth \N{MINUS SIGN}5% of S&P 500", fontsize=9)
    _, text = _drawn(figure)
    assert "Growth \N{MINUS SIGN}5% of S&P 500" in text


def test_long_lines_are_simplified(figure: Figure) -> None:
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    x = np.linspace(0, 1, 50_000)
    with plot.style():
        axes.plot(x, x, linewidth=1)
    operators, _ = _drawn(figure)
    assert operators.count(" l\n") + operators.count(" l ") < 100
    assert len(zlib.compress(operators.encode())) < 2_000


def test_a_quadratic_curve_becomes_the_same_cubic(figure: Figure) -> None:
    curve = Path([(0, 0), (30, 60), (60, 0)], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 200)
    axes.set_ylim(0, 100)
    axes.add_patch(PathPatch(curve, fill=False))
    operators, _ = _drawn(figure)
    # Control points two thirds of the way from each end to the quadratic's own.
    assert "20 40 40 40 60 0 c" in operators


def test_images_are_refused(figure: Figure) -> None:
    figure.add_axes((0, 0, 1, 1)).imshow(np.zeros((2, 2)))
    with pytest.raises(NotImplementedError, match="no images"):
        _drawn(figure)
