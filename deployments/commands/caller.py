"""Who runs a command, for the records of what it changes."""

import getpass
import os


def user_name() -> str:
    """The name of the user; a container's user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
