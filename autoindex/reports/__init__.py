"""Results out: what a report says, its charts, its files and their delivery by mail."""
