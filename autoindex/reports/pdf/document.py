"""The report as a PDF: a fact sheet with vector charts, bookmarks and searchable text."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab import rl_config
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfdoc
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

from autoindex.reports import theme
from autoindex.reports.content import ReportContent
from autoindex.reports.pdf import pages, plot
from autoindex.reports.wording import day

MARGIN: Final = 16 * mm
_PAPER: Final = {"a4": A4, "letter": LETTER}
_LANGUAGE: Final = "en-GB"
_HEADER: Final = 13 * mm
_FOOTER: Final = 5 * mm
_LOWER: Final = 6.4 * mm


def write(content: ReportContent, path: Path) -> None:
    """Write `content` to `path`; the same content gives the same bytes."""
    theme.register_fonts()
    # Binary rather than text: a quarter smaller, and much faster to write.
    rl_config.useA85 = 0
    document = _Document(path, content)
    with plot.style():
        story = pages.story(content, document.width, document.height)
        document.build(story, canvasmaker=document.canvas)


class _Document(BaseDocTemplate):
    def __init__(self, path: Path, content: ReportContent) -> None:
        super().__init__(
            str(path),
            pagesize=_PAPER[content.imprint.paper],
            leftMargin=MARGIN,
            rightMargin=MARGIN,
            bottomMargin=MARGIN + _FOOTER,
            topMargin=MARGIN + _HEADER - 6 * mm,
            title=content.title,
            author=content.imprint.publisher or content.index_name,
            subject=content.summary,
            creator="Autoindex",
            keywords=[content.index_name, content.report_type.value, str(content.period.last)],
            invariant=1,
            lang=_LANGUAGE,
            # ReportLab's default font is not embedded.
            initialFontName=theme.REGULAR,
        )
        self._content = content
        body = Frame(MARGIN, MARGIN + _FOOTER, self.width, self.height, *(0, 0, 0, 0))
        self.addPageTemplates(PageTemplate("page", [body], onPage=self._header_and_footer))

    def canvas(self, *args: Any, **kwargs: Any) -> Canvas:
        canvas = _NumberedCanvas(*args, **kwargs)
        canvas.setDateFormatter(_at(self._content.generated_at))
        canvas.showOutline()
        canvas.setViewerPreference("DisplayDocTitle", "true")
        metadata = pdfdoc.XMP(creator=lambda _: _xmp(self._content))
        canvas._doc.Catalog.Metadata = canvas._doc.Reference(metadata)  # type: ignore[attr-defined]
        return canvas

    def _header_and_footer(self, canvas: Canvas, _: BaseDocTemplate) -> None:
        content = self._content
        canvas.saveState()
        right, top = MARGIN + self.width, self.pagesize[1] - MARGIN + 1 * mm
        canvas.setFillColor(theme.ACCENT)
        canvas.rect(MARGIN, top + 3.5 * mm, self.width, 1.1 * mm, stroke=0, fill=1)
        if canvas.getPageNumber() > 1:
            canvas.setFont(theme.BOLD, 8)
            name = theme.shortened(content.index_name, 0.6 * self.width, 8)
            canvas.drawString(MARGIN, top - 1 * mm, name)
        canvas.setFillColor(theme.MUTED)
        canvas.setFont(theme.REGULAR, 8)
        kind = f"{content.report_type.capitalize()} report, {content.period.label}"
        canvas.drawRightString(right, top - 1 * mm, kind)
        canvas.setStrokeColor(theme.RULE)
        canvas.setLineWidth(0.4)
        canvas.line(MARGIN, MARGIN, right, MARGIN)
        canvas.setFont(theme.REGULAR, 7)
        made = (
            f"Data as of {day(content.period.last)}. Past performance says little about the future."
        )
        canvas.drawString(MARGIN, MARGIN - 3.6 * mm, made)
        imprint = theme.shortened(_imprint(content), self.width, 7)
        canvas.drawString(MARGIN, MARGIN - _LOWER, imprint)
        canvas.restoreState()


class _NumberedCanvas(Canvas):
    """Writes `Page n of m` at the end, when m is known."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._finished: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802
        self._finished.append(dict(self.__dict__))
        # Bookmarks name their page by this number.
        self._doc.pageCounter += 1  # type: ignore[attr-defined]
        self._startPage()  # type: ignore[attr-defined]

    def save(self) -> None:
        self._doc.pageCounter = 1  # type: ignore[attr-defined]
        for number, state in enumerate(self._finished, start=1):
            self.__dict__.update(state)
            self.setFont(theme.REGULAR, 7)
            self.setFillColor(theme.MUTED)
            text = f"Page {number} of {len(self._finished)}"
            right = self._pagesize[0] - MARGIN  # type: ignore[attr-defined]
            self.drawRightString(right, MARGIN - 3.6 * mm, text)
            super().showPage()
        super().save()


def _imprint(content: ReportContent) -> str:
    """As of when and by which task it was made, who publishes it, and whom to ask."""
    made, imprint = content.generated_at.astimezone(UTC), content.imprint
    task = f" Task {imprint.task_id}." if imprint.task_id else ""
    who = ". ".join(filter(None, (imprint.publisher, imprint.contact)))
    return f"As of {day(made)}, {made:%H:%M} UTC.{task} {who}".rstrip()


def _xmp(content: ReportContent) -> bytes:
    """Title, language and time of the document for programs that read no `Info` dictionary."""
    made = content.generated_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    title, publisher = (
        escape(content.title),
        escape(content.imprint.publisher or content.index_name),
    )
    return f"""<?xpacket begin="\N{ZERO WIDTH NO-BREAK SPACE}" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<dc:format>application/pdf</dc:format>
<dc:language><rdf:Bag><rdf:li>{_LANGUAGE}</rdf:li></rdf:Bag></dc:language>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
<dc:creator><rdf:Seq><rdf:li>{publisher}</rdf:li></rdf:Seq></dc:creator>
<xmp:CreatorTool>Autoindex</xmp:CreatorTool>
<xmp:CreateDate>{made}</xmp:CreateDate>
<xmp:ModifyDate>{made}</xmp:ModifyDate>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def _at(instant: datetime) -> Any:
    stamp = instant.astimezone(UTC).strftime("D:%Y%m%d%H%M%S+00'00'")
    return lambda *_: stamp
