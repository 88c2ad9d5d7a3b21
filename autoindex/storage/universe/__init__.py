"""The universe: its assets, and the CSV file they are imported from."""
