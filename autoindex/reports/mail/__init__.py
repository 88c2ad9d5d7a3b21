"""A report by mail: its body, its delivery, and links that need no token."""
