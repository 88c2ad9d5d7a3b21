"""The body of a report's mail, as text and as HTML, and its chart."""

from html import escape
from io import BytesIO
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg

from autoindex.reports import captions, theme
from autoindex.reports.content import ReportContent
from autoindex.reports.legible import legible
from autoindex.reports.pdf import charts, plot
from autoindex.reports.wording import day, footnote, percent, points, return_label, subtitle

_WIDTH: Final = 560.0
# The chart is drawn small and shown large, so that a telephone shows letters one can read.
_CHART_WIDTH: Final = 220.0
_CHART_HEIGHT: Final = 116.0
_CHART_DPI: Final = 360
_FONT: Final = "font-family:'Source Sans Pro','Segoe UI',Arial,sans-serif"


def subject(content: ReportContent) -> str:
    """The subject, on one line whatever the names are."""
    return " ".join(content.title.split())


def text(content: ReportContent, where: str) -> str:
    """The plain part; `where` says where the report itself is."""
    figures = "\n".join(f"{label + ':':<22}{value}" for label, value in _figures(content))
    if short := footnote([content.headline.annual_return]):
        figures += f"\n\n{short}"
    return f"{subtitle(content)}\n\n{content.summary}\n\n{figures}\n\n{where}\n\n{_NOTICE}\n"


_HEAD: Final = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
)
_NOTICE: Final = "Past performance says little about the future. Method and sources: in the report."


def html(content: ReportContent, where: str, link: str | None, chart_id: str) -> str:
    """The HTML part; the image `chart_id` is in the same message."""
    rows = "".join(
        f'<tr><td style="padding:4px 24px 4px 0;color:{theme.MUTED}">{escape(label)}</td>'
        f'<td align="right" style="padding:4px 0;font-weight:600">{escape(value)}</td></tr>'
        for label, value in _figures(content)
    )
    short = footnote([content.headline.annual_return])
    short = short and f'<p style="font-size:12px;color:{theme.MUTED}">{short}</p>'
    place = escape(where)
    if link:
        place += f' <a href="{escape(link, quote=True)}" style="color:{theme.ACCENT}">Open it</a>'
    caption = captions.recent(content)
    alt = f"{content.index_name}: {caption[0].lower()}{caption[1:]}"
    return (
        f'<!doctype html><html lang="en"><head>{_HEAD}<title>{escape(subject(content))}</title>'
        f'</head><body style="margin:0;background:{theme.WHITE}">'
        f'<div style="max-width:{_WIDTH:.0f}px;margin:0 auto;padding:24px;color:{theme.INK};'
        f"font-size:15px;"
        f'line-height:1.45;{_FONT};border-top:4px solid {theme.ACCENT}">'
        f'<h1 style="font-size:22px;margin:0">{escape(content.index_name)}</h1>'
        f'<p style="margin:2px 0 16px;color:{theme.MUTED}">{escape(subtitle(content))}</p>'
        f"<p>{escape(content.summary)}</p>"
        f'<table role="presentation" cellspacing="0" style="font-size:15px">{rows}</table>{short}'
        f'<p style="margin:20px 0 -8px;font-size:12px;color:{theme.MUTED}">{caption}</p>'
        f'<p><img src="cid:{chart_id}" alt="{escape(alt, quote=True)}" width="{_WIDTH:.0f}" '
        f'style="width:100%;height:auto"></p><p>{place}</p>'
        f'<p style="font-size:12px;color:{theme.MUTED}">{_NOTICE}</p></div></body></html>\n'
    )


def chart(content: ReportContent) -> bytes:
    """The index against its benchmark over the last five years, as a PNG."""
    with plot.style():
        figure = charts.recent(legible(content), _CHART_WIDTH, _CHART_HEIGHT)
        figure.patch.set_visible(True)
        FigureCanvasAgg(figure)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=_CHART_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _figures(content: ReportContent) -> list[tuple[str, str]]:
    head = content.headline
    return [
        (return_label(content), percent(head.period_return, signed=True)),
        ("Benchmark", percent(head.benchmark_period_return, signed=True)),
        ("Difference", points(head.period_difference)),
        ("Year to date", percent(head.year_to_date_return, signed=True)),
        ("Annual return", percent(head.annual_return, signed=True)),
        ("Maximum drawdown", percent(head.max_drawdown)),
        ("Data as of", day(content.period.last)),
    ]
