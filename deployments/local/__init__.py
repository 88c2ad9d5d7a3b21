"""The local stack and the demonstration: every part as a child process."""
