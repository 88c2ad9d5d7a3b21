"""Results out: what a report says, its charts, its files and their delivery by mail."""

import os

# Where lxml happens to be installed openpyxl prefers it, and it decodes a % in a file's path.
# openpyxl reads this when it is imported.
os.environ["OPENPYXL_LXML"] = "False"
