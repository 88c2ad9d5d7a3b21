"""The names of the files Autoindex writes to shared folders; a cleanup removes no others.

<reports>/<task>/autoindex-composite-monthly-2022-12-28.pdf
<reports>/<task>/.autoindex-unfinished-k3j5_x0a
<temporary>/autoindex-run-<task>-8q1c_z7w
"""

import re
from datetime import date
from typing import Final
from uuid import UUID

from autoindex.requests import ReportType

UNFINISHED_PREFIX: Final = ".autoindex-unfinished-"

# The suffix that `tempfile` adds.
_ADDED: Final = "[a-z0-9_]{8}"
_TASK: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TASK_FOLDER: Final = re.compile(_TASK)
_UNFINISHED: Final = re.compile(re.escape(UNFINISHED_PREFIX) + _ADDED)
_RUN_FOLDER: Final = re.compile(f"autoindex-run-{_TASK}-{_ADDED}")
_REPORT: Final = re.compile(
    rf"autoindex(?:-[^\W_]+)*-(?:{'|'.join(ReportType)})-\d{{4}}-\d\d-\d\d\.(?:pdf|xlsx|json)"
)


def report(index_name: str, report_type: ReportType, last: date, extension: str) -> str:
    """A report's file: `autoindex-composite-monthly-2022-12-28.pdf`."""
    index = "-".join("".join(c if c.isalnum() else " " for c in index_name).lower().split())
    return f"{index}-{report_type}-{last}.{extension}"


def run_folder_prefix(task_id: UUID) -> str:
    """The prefix of the folder of a run's temporary files."""
    return f"autoindex-run-{task_id}-"


def is_task_folder(name: str) -> bool:
    """Whether it is the folder of a task's report."""
    return _TASK_FOLDER.fullmatch(name) is not None


def is_report(name: str) -> bool:
    """Whether a file in a task's folder is a report."""
    return _REPORT.fullmatch(name) is not None


def is_unfinished(name: str) -> bool:
    """Whether a file in a task's folder is an unfinished report."""
    return _UNFINISHED.fullmatch(name) is not None


def is_run_folder(name: str) -> bool:
    """Whether it is the folder of a run's temporary files."""
    return _RUN_FOLDER.fullmatch(name) is not None
