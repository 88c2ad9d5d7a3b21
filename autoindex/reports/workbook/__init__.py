"""The Excel workbook, its native charts and its sheet of formulas that check it."""
