"""PostgreSQL itself: connections, locks, notifications, binary COPY, errors that pass."""
