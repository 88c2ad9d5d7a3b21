"""A report's artifacts on its run's page in the Prefect UI: a link to the file, and a chart.

Apart from other artifacts, because the imports for charts need as much memory as an index.
"""

from base64 import b64encode

from prefect.artifacts import create_image_artifact, create_link_artifact

from autoindex.reports import captions
from autoindex.reports.content import ReportContent
from autoindex.reports.mail import body, links
from autoindex.settings import Settings
from autoindex.storage.stored_reports import StoredReport


def show(settings: Settings, stored: StoredReport, content: ReportContent, name: str) -> None:
    """Create a link to the file, and an image of the index and its benchmark."""
    link = links.signed(settings, stored.task_id, stored.created_at)
    if link is not None:
        create_link_artifact(link, link_text=name, key="report-file", description=content.summary)
    # The browser that shows the UI may not reach the facade: the image is a data URL.
    picture = b64encode(body.chart(content)).decode()
    text = f"{content.title}: {captions.recent(content)}"
    create_image_artifact(f"data:image/png;base64,{picture}", key="report-chart", description=text)
