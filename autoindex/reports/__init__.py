"""Reports: their figures, charts, files and delivery by mail."""

import os

# openpyxl prefers lxml where it is installed, and lxml decodes a % in a file's path. openpyxl
# reads this variable when it is imported.
os.environ["OPENPYXL_LXML"] = "False"
