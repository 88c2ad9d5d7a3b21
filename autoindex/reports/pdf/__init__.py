"""The PDF: pages, tables and vector charts."""
