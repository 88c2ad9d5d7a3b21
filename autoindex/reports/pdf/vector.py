"""Draws a matplotlib figure on a ReportLab canvas: vectors, and text in the page's own typefaces.

One pixel is one point. Only what our charts use is drawn: paths, their fills and dashes, clipping
to a rectangle, and text. Images are refused: they would not be vectors.
"""

from typing import Any, Final, NoReturn

from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Transform
from reportlab.lib.colors import Color
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas

from autoindex.reports import theme

_CAPS: Final = {"butt": 0, "round": 1, "projecting": 2}
_JOINS: Final = {"miter": 0, "round": 1, "bevel": 2}
_BOLD_FROM: Final = 600
_ASCENT: Final = 0.72
_DESCENT: Final = 0.20


def draw(figure: Figure, canvas: Canvas) -> None:
    """Draw `figure` with its lower left corner at the canvas's origin; its dpi must be 72."""
    theme.register_fonts()
    width, height = figure.bbox.size
    figure.draw(_Renderer(canvas, float(width), float(height)))


def _font(properties: FontProperties) -> tuple[str, float]:
    weight = properties.get_weight()
    bold = weight >= _BOLD_FROM if isinstance(weight, int) else "bold" in str(weight)
    return theme.BOLD if bold else theme.REGULAR, properties.get_size_in_points()


def _colour(rgb: Any) -> Color:
    red, green, blue, *alpha = rgb
    return Color(red, green, blue, alpha[0] if alpha else 1.0)


class _Renderer(RendererBase):
    def __init__(self, canvas: Canvas, width: float, height: float) -> None:
        super().__init__()
        self._canvas = canvas
        self._size = width, height

    def get_canvas_width_height(self) -> tuple[float, float]:
        return self._size

    def flipy(self) -> bool:
        return False

    def get_text_width_height_descent(
        self,
        s: str,
        prop: FontProperties,
        ismath: Any,  # noqa: ARG002  (the signature is matplotlib's)
    ) -> tuple[float, float, float]:
        name, size = _font(prop)
        return (
            pdfmetrics.stringWidth(s, name, size),
            (_ASCENT + _DESCENT) * size,
            _DESCENT * size,
        )

    def draw_path(
        self,
        gc: GraphicsContextBase,
        path: Path,
        transform: Transform,
        rgbFace: Any = None,  # noqa: N803
    ) -> None:
        line_width = float(gc.get_linewidth())
        if rgbFace is None and not line_width:
            return
        self._canvas.saveState()
        self._clip(gc)
        if line_width:
            self._pen(gc, line_width)
        if rgbFace is not None:
            self._canvas.setFillColor(_colour(rgbFace))
        self._trace(path, transform, stroke=bool(line_width), fill=rgbFace is not None)
        self._canvas.restoreState()

    def _clip(self, gc: GraphicsContextBase) -> None:
        rectangle = gc.get_clip_rectangle()
        if rectangle is not None:
            outline = self._canvas.beginPath()
            outline.rect(*(float(side) for side in rectangle.bounds))
            self._canvas.clipPath(outline, stroke=0, fill=0)

    def _pen(self, gc: GraphicsContextBase, line_width: float) -> None:
        self._canvas.setStrokeColor(_colour(gc.get_rgb()))
        self._canvas.setLineWidth(line_width)
        self._canvas.setLineCap(_CAPS[gc.get_capstyle()])
        self._canvas.setLineJoin(_JOINS[gc.get_joinstyle()])
        dashing: Any = gc.get_dashes()
        offset, dashes = dashing
        if dashes is not None:
            self._canvas.setDash([float(dash) for dash in dashes], float(offset))

    def _trace(self, path: Path, transform: Transform, *, stroke: bool, fill: bool) -> None:
        outline = self._canvas.beginPath()
        # A filled outline must not be simplified: matplotlib's rule, or its corners move.
        steps: Any = path.iter_segments(transform, simplify=False if fill else None, curves=True)
        x = y = 0.0
        for vertices, code in steps:
            points: list[float] = vertices.tolist()
            if code == Path.MOVETO:
                outline.moveTo(*points)
            elif code == Path.LINETO:
                outline.lineTo(*points)
            elif code == Path.CURVE3:
                outline.curveTo(*_cubic(x, y, *points))
            elif code == Path.CURVE4:
                outline.curveTo(*points)
            elif code == Path.CLOSEPOLY:
                outline.close()
                continue
            x, y = points[-2:]
        self._canvas.drawPath(outline, stroke=int(stroke), fill=int(fill))

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,  # noqa: ARG002
        mtext: Text | None = None,  # noqa: ARG002
    ) -> None:
        name, size = _font(prop)
        self._canvas.saveState()
        self._canvas.setFillColor(_colour(gc.get_rgb()))
        self._canvas.setFont(name, size)
        self._canvas.translate(float(x), float(y))
        if angle:
            self._canvas.rotate(float(angle))
        self._canvas.drawString(0, 0, s)
        self._canvas.restoreState()

    def draw_image(
        self, gc: GraphicsContextBase, x: float, y: float, im: Any, transform: Any = None
    ) -> NoReturn:
        raise NotImplementedError("a chart of the report has no images")


def _cubic(
    x0: float, y0: float, x1: float, y1: float, x2: float, y2: float
) -> tuple[float, float, float, float, float, float]:
    # A quadratic Bézier curve raised to a cubic one: the only kind PDF has.
    return (
        x0 + 2 / 3 * (x1 - x0),
        y0 + 2 / 3 * (y1 - y0),
        x2 + 2 / 3 * (x1 - x2),
        y2 + 2 / 3 * (y1 - y2),
        x2,
        y2,
    )
